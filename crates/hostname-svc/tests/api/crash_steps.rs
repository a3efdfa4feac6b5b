//! SIGKILL at each step of the order of writes, in the real process: a proxy before Vault holds the call.

use futures_util::future::join_all;
use serde_json::json;
use testbed::FaultProxy;

use crate::{
    app::{Answer, TestApp, lock_service, wish},
    vault::{Vault, open_bao},
};

const BASE: &str = "crashed";

/// Where a replica dies that gives out three numbers.
struct Step {
    /// The call to Vault during which it does, if any: before that it had been answered.
    call: Option<(&'static str, During)>,
    /// Whether the counter knew by then what was to be written.
    begun: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum During {
    /// Vault never gets it.
    Request,
    /// Vault has carried it out.
    Answer,
}

const fn at(call: &'static str, during: During, begun: bool) -> Step {
    Step {
        call: Some((call, during)),
        begun,
    }
}

const STEPS: [Step; 11] = [
    at("GET counters/", During::Answer, false),
    at("POST stems/", During::Request, false),
    at("POST stems/", During::Answer, false),
    at("POST counters/", During::Request, false),
    at("POST counters/", During::Answer, true),
    at("POST idem/", During::Request, true),
    at("POST idem/", During::Answer, true),
    at("POST hosts/", During::Request, true),
    at("POST hosts/", During::Answer, true),
    at("POST hosts/ 3", During::Answer, true),
    Step {
        call: None,
        begun: true,
    },
];

/// One death: its step, and whether the dead replica's caller asks again at once or somebody else does.
struct Case {
    step: &'static Step,
    asks_again: bool,
    application: String,
}

impl Case {
    /// How the request begins that is to be held.
    fn text(&self, call: &str) -> String {
        let (method, what) = call.split_once(' ').unwrap();
        let (folder, number) = what.split_once(' ').unwrap_or((what, "1"));
        let document = match folder {
            "hosts/" => {
                let application = &self.application;
                let front = &application[..2];
                format!("{front}/{application}web{number}dev")
            }
            _ => String::new(),
        };
        format!("{method} /v1/secret/data/{BASE}/{folder}{document}")
    }

    async fn call(&self, app: &TestApp) -> Answer {
        let mut body = wish(&self.application, "web", "dev");
        body["count"] = json!(3);
        let key = Some(self.application.as_str());
        app.post("/v1/hostnames:batch", &body, key).await
    }

    fn names(&self, numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
        let name = |number| format!("{}web{number}dev", self.application);
        numbers.into_iter().map(name).collect()
    }

    /// What the others find, and what the caller is told when it asks again.
    async fn recover(&self, app: &TestApp) {
        let first = match (self.asks_again, self.step.begun) {
            (true, _) => 1,
            (false, begun) => {
                let body = wish(&self.application, "web", "dev");
                let other = app.allocate(&body).await.counter();
                assert_eq!(other, if begun { 4 } else { 1 }, "{}", self.application);
                if begun { 1 } else { 2 }
            }
        };
        let told = self.call(app).await;
        assert_eq!(told.names("hostnames"), self.names(first..first + 3));
        assert_eq!(told.body["contiguous"], true);
    }

    /// The names that have a record are those of all numbers, and no number was passed over.
    async fn check(&self, vault: &Vault, recorded: &[String]) {
        let counter = vault
            .counter_of(BASE, &format!("{}/web/dev", self.application))
            .await;
        let numbers = if self.asks_again { 3 } else { 4 };
        assert_eq!((counter.value, counter.skipped.len()), (numbers, 0));
        let begin = format!("{}web", self.application);
        let own = recorded.iter().filter(|name| name.starts_with(&begin));
        let mut own: Vec<_> = own.cloned().collect();
        own.sort();
        assert_eq!(own, self.names(1..=numbers));
    }
}

#[tokio::test]
async fn a_replica_killed_at_any_step_of_its_writes_leaves_what_others_finish() {
    let (bao, locks) = (open_bao().await, lock_service().await.url());
    let (vault, proxy) = (
        Vault::of(bao),
        FaultProxy::start(bao.address()).await.unwrap(),
    );
    // One call at a time, so that each is a step of its own; and the world may stand still.
    let service = vault.service(&proxy.url(), BASE, locks).await;
    let service = service
        .env("HOSTNAME_SVC_STORE_PARALLEL", "1")
        .env("HOSTNAME_SVC_STORE_TIMEOUT", "1m")
        .env("HOSTNAME_SVC_LOCK_TTL", "2s");
    let doomed = TestApp::with(service).await;
    let cases = (STEPS.iter().enumerate()).flat_map(|(number, step)| {
        [true, false].map(|asks_again| Case {
            step,
            asks_again,
            application: format!(
                "step{}{}",
                (b'a' + number as u8) as char,
                if asks_again { "x" } else { "y" }
            ),
        })
    });
    let cases: Vec<Case> = cases.collect();
    for (held, case) in cases.iter().enumerate() {
        die(&doomed, &proxy, case, held + 1).await;
    }

    let address = bao.address();
    let other = TestApp::with(vault.service(address, BASE, locks).await).await;
    join_all(cases.iter().map(|case| case.recover(&other))).await;
    let records = vault.records(BASE).await;
    let recorded = records.iter().map(|it| it["hostname"].as_str().unwrap());
    let recorded: Vec<String> = recorded.map(str::to_owned).collect();
    for case in &cases {
        case.check(&vault, &recorded).await;
    }
}

/// Kills the replica at a step, and starts it again.
async fn die(doomed: &TestApp, proxy: &FaultProxy, case: &Case, held: usize) {
    match case.step.call {
        Some((call, during)) => {
            let text = case.text(call);
            match during {
                During::Request => proxy.hold_request(&text),
                During::Answer => proxy.hold_answer_to(&text),
            }
            tokio::select! {
                answer = case.call(doomed) => panic!("{text}: {answer:?}"),
                () = proxy.held(held) => (),
            }
        }
        None => assert_eq!(case.call(doomed).await.names("hostnames").len(), 3),
    }
    doomed.service.restart().await.unwrap();
}
