//! Policies from a file.

use std::{fs, path::PathBuf};

use serde_json::json;
use testbed::{Scratch, Service};

use crate::{
    app::{TestApp, embedded, lock_service, unique, wish},
    vault::{Vault, gap_free, open_bao},
};

const DASHES: &str = r#"
[[rule]]
application = ["splunk"]
separator = "-"
padding = 3
start = 10
step = 10
reserved = ["admin"]
"#;

/// A file of policies, and the directory that it goes with.
struct Policies {
    _dir: Scratch,
    path: PathBuf,
}

impl Policies {
    fn of(text: &str) -> Self {
        let dir = Scratch::new("policies").unwrap();
        let path = dir.path().join("policies.toml");
        fs::write(&path, text).unwrap();
        Self { _dir: dir, path }
    }

    /// Writes the file anew, at once.
    fn becomes(&self, text: &str) {
        let new = self.path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.path).unwrap();
    }

    fn given_to(&self, service: Service) -> Service {
        service.env("HOSTNAME_SVC_POLICY_FILE", self.path.display().to_string())
    }
}

async fn app(policies: &Policies) -> TestApp {
    let service = embedded(lock_service().await.url());
    TestApp::with(policies.given_to(service)).await
}

#[tokio::test]
async fn hostnames_look_as_their_policy_says_and_those_before_keep_their_names() {
    let policies = Policies::of("");
    let (vault, base) = (Vault::of(open_bao().await), unique("shaped"));
    let (address, locks) = (open_bao().await.address(), lock_service().await.url());
    let service = vault.service(address, &base, locks).await;
    let app = TestApp::with(policies.given_to(service)).await;
    let body = wish("splunk", "web", "dev");
    let first = app.allocate_with_key(&body, "first").await;
    assert_eq!(first.hostname(), "splunkweb1dev");

    policies.becomes(DASHES);
    app.shows(r#"hostname_policy_reloads_total{result="loaded"} 1"#)
        .await;
    for hostname in ["splunk-web-010-dev", "splunk-web-020-dev"] {
        assert_eq!(app.allocate(&body).await.hostname(), hostname);
    }
    let preview = app
        .get("/v1/hostnames:preview?application=splunk&role=web&environment=dev&count=2")
        .await;
    let next = ["splunk-web-030-dev", "splunk-web-040-dev"];
    assert_eq!(preview.names("hostnames"), next);
    assert_eq!(
        app.allocate(&wish("other", "web", "dev")).await.hostname(),
        "otherweb1dev"
    );
    // Whoever comes again is told what he was told.
    assert_eq!(app.allocate_with_key(&body, "first").await.body, first.body);
    let mut import = body.clone();
    import["counters"] = json!([55]);
    let imported = app.post("/v1/hostnames:import", &import, None).await;
    assert_eq!(imported.names("hostnames"), ["splunk-web-055-dev"]);
    assert_eq!(app.allocate(&body).await.hostname(), "splunk-web-060-dev");

    policies.becomes("");
    app.shows(r#"hostname_policy_reloads_total{result="loaded"} 2"#)
        .await;
    assert_eq!(app.allocate(&body).await.hostname(), "splunkweb61dev");
    let all = [
        "splunkweb1dev",
        "splunk-web-010-dev",
        "splunk-web-020-dev",
        "splunk-web-055-dev",
        "splunk-web-060-dev",
        "splunkweb61dev",
    ];
    assert_eq!(app.listed("application=splunk").await, all);
    assert_eq!(
        app.get("/v1/hostnames/splunk-web-020-dev").await.counter(),
        20
    );
    let state = app.get("/v1/prefixes/splunk/web/dev").await.body;
    assert_eq!(
        (&state["given"], &state["counter"]),
        (&json!(6), &json!(61))
    );
    assert_eq!(vault.records(&base).await.len(), 7);
}

#[tokio::test]
async fn a_prefix_gets_no_more_than_its_quota_from_however_many_replicas() {
    let policies = Policies::of("[[rule]]\napplication = [\"splunk\"]\nquota = 5\n");
    let (vault, base) = (Vault::of(open_bao().await), unique("quota"));
    let (address, locks) = (open_bao().await.address(), lock_service().await.url());
    let replica = async || {
        let service = vault.service(address, &base, locks).await;
        TestApp::with(policies.given_to(service)).await
    };
    let (one, two) = (replica().await, replica().await);
    let body = wish("splunk", "web", "dev");
    let calls = (0..20).map(|call| {
        if call % 2 == 0 {
            one.allocate(&body)
        } else {
            two.allocate(&body)
        }
    });
    let answers = futures_util::future::join_all(calls).await;
    let (given, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 201);
    assert_eq!((given.len(), refused.len()), (5, 15));
    for answer in refused {
        answer.is_problem(409, "quota-exceeded");
    }
    let other = wish("splunk", "db", "dev");
    assert_eq!(two.allocate(&other).await.counter(), 1);
    let mut three = other.clone();
    three["count"] = json!(5);
    let batch = async || two.post("/v1/hostnames:batch", &three, Some("k")).await;
    batch().await.is_problem(409, "quota-exceeded");
    gap_free_splunk_web(&vault, &base).await;

    policies.becomes("");
    two.shows(r#"hostname_policy_reloads_total{result="loaded"} 1"#)
        .await;
    assert_eq!(batch().await.names("hostnames").len(), 5);
}

/// The numbers of the prefix that most tests use are 1 to 5.
async fn gap_free_splunk_web(vault: &Vault, base: &str) {
    let records = vault.records(base).await;
    let mut web: Vec<_> = records
        .iter()
        .filter(|it| it["role"] == "web")
        .map(|it| it["counter"].as_u64().unwrap())
        .collect();
    web.sort_unstable();
    assert_eq!(web, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_policy_refuses_words_and_lengths_by_the_name_of_the_field() {
    let policies = Policies::of(
        "[[rule]]\nreserved = [\"admin\", \"www\"]\nmax_length = 15\nseparator = \"-\"\n",
    );
    let app = app(&policies).await;
    let refused = app.allocate(&wish("admin", "www", "dev")).await;
    assert_eq!(refused.fields(), ["application", "role"]);
    let long = app.allocate(&wish("splunk", "webs", "dev")).await;
    assert_eq!(long.fields(), ["application"]);
    let body = wish("splunk", "w", "dev");
    let mut nine = body.clone();
    nine["count"] = json!(99);
    assert_eq!(
        app.post("/v1/hostnames:batch", &nine, None)
            .await
            .names("hostnames")
            .len(),
        99
    );
    app.allocate(&body)
        .await
        .is_problem(409, "prefix-exhausted");
}

#[tokio::test]
async fn where_digits_are_allowed_a_name_that_two_prefixes_have_goes_to_the_first() {
    let policies = Policies::of("[[rule]]\nallow_digits = true\n");
    let (vault, base) = (Vault::of(open_bao().await), unique("digits"));
    let (address, locks) = (open_bao().await.address(), lock_service().await.url());
    let service = vault.service(address, &base, locks).await;
    let app = TestApp::with(policies.given_to(service)).await;
    let mut many = wish("splunk", "web", "dev");
    many["count"] = json!(12);
    app.post("/v1/hostnames:batch", &many, None)
        .await
        .names("hostnames");
    // splunkweb1 + 1 and + 2 are the hostnames 11 and 12 of splunkweb.
    assert_eq!(
        app.allocate(&wish("splunk", "web1", "dev"))
            .await
            .hostname(),
        "splunkweb13dev"
    );
    // And so the next one of splunkweb is passed over.
    assert_eq!(
        app.allocate(&wish("splunk", "web", "dev")).await.hostname(),
        "splunkweb14dev"
    );
    let skipped = vault.counter(&base).await.skipped;
    assert_eq!(skipped["13"]["why"], "taken");
    policies.becomes("");
    app.shows(r#"hostname_policy_reloads_total{result="loaded"} 1"#)
        .await;
    let refused = app.allocate(&wish("splunk", "web1", "dev2")).await;
    assert_eq!(refused.fields(), ["role", "environment"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_ends_the_start_and_changes_nothing_later() {
    let policies = Policies::of("[[rule]]\npaddign = 3\n");
    let service = policies.given_to(embedded(lock_service().await.url()));
    let refused = service.start_listening().await.err().unwrap().to_string();
    let told = "which cannot be used: line 2: unknown field `paddign`";
    assert!(
        refused.contains(told) && refused.contains("HOSTNAME_SVC_POLICY_FILE"),
        "{refused}"
    );
    assert!(refused.contains("exit status: 2"), "{refused}");

    policies.becomes(DASHES);
    let app = app(&policies).await;
    let body = wish("splunk", "web", "dev");
    assert_eq!(app.allocate(&body).await.hostname(), "splunk-web-010-dev");
    policies.becomes("[[rule]]\nstep = 0\n");
    app.shows(r#"hostname_policy_reloads_total{result="refused"} 1"#)
        .await;
    assert_eq!(app.allocate(&body).await.hostname(), "splunk-web-020-dev");
    let log = app.service.logs().text();
    assert!(
        log.contains("the policies stay as they are: rule 1: `step` is 0"),
        "{log}"
    );
}

#[tokio::test]
async fn a_rule_says_what_is_done_without_the_lock_service() {
    let policies = Policies::of("[[rule]]\napplication = [\"splunk\"]\nlock_outage = \"go-on\"\n");
    let locks = testbed::FaultProxy::start(lock_service().await.url())
        .await
        .unwrap();
    let (vault, base) = (Vault::of(open_bao().await), unique("ruled"));
    let service = vault
        .service(open_bao().await.address(), &base, &locks.url())
        .await;
    let app = TestApp::with(policies.given_to(service)).await;
    locks.refuse().await.unwrap();
    let given = app.allocate(&wish("splunk", "web", "dev")).await;
    assert_eq!((given.counter(), &given.body["lock"]), (1, &json!(null)));
    app.allocate(&wish("other", "web", "dev"))
        .await
        .is_problem(503, "lock-unavailable");
    gap_free(&vault, &base, 1).await;
}
