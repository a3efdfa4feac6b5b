//! One trace from the caller through hostname-svc and shared-lock-svc to Vault.

use testbed::{Collector, Service, Span};

use crate::{
    app::{Answer, TestApp, keep_lock, wish},
    vault::{Vault, open_bao},
};

/// Trace ids of two callers.
const CALLERS: [&str; 2] = [
    "0af7651916cd43dd8448eb211c80319c",
    "4bf92f3577b34da6a3ce929d0e0e4736",
];

/// The span of each.
const CALLER: &str = "b7ad6b7169203331";

#[tokio::test]
async fn a_callers_trace_goes_through_the_lock_service_to_vault_and_is_linked_to_those_served_with_it()
 {
    let collector = Collector::start().unwrap();
    let locks = Service::new("shared-lock-svc")
        .env("SHARED_LOCK_STORAGE_TYPE", "memory")
        .env("SHARED_LOCK_OTLP_ENDPOINT", collector.url());
    let locks = locks.start().await.unwrap();
    let vault = Vault::of(open_bao().await);
    let service = vault
        .service(open_bao().await.address(), "traced", locks.url())
        .await
        .env("HOSTNAME_SVC_OTLP_ENDPOINT", collector.url());
    let app = TestApp::with(service).await;

    // Both wait for the lock, so that one cycle serves them.
    let guard = keep_lock(&locks, "traced").await;
    let (first, second) = (call(&app, CALLERS[0]), call(&app, CALLERS[1]));
    let second = async {
        app.is_waiting(1).await;
        let release = async {
            app.is_waiting(2).await;
            guard.release().await.unwrap();
        };
        tokio::join!(second, release).0
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.counter(), second.counter()), (1, 2));
    app.service.terminate().await.unwrap();
    locks.terminate().await.unwrap();

    let spans = collector.spans();
    let trace: Vec<&Span> = spans
        .iter()
        .filter(|span| span.trace_id == CALLERS[0])
        .collect();
    for (service, name) in [
        ("hostname-svc", "POST /v1/hostnames"),
        ("hostname-svc", "lock.acquire"),
        ("shared-lock-svc", "POST /v1/locks/{key}/acquire"),
        ("shared-lock-svc", "POST /v1/locks/{key}/release"),
        ("hostname-svc", "vault.read"),
        ("hostname-svc", "vault.write"),
    ] {
        let found = trace
            .iter()
            .any(|span| span.service == service && span.name == name);
        assert!(found, "no {name} of {service} in {trace:#?}");
    }
    for span in &trace {
        let root = span.name == "POST /v1/hostnames";
        let above = trace.iter().any(|it| it.span_id == span.parent_id);
        assert!(root || above, "{span:?} hangs in the air: {trace:#?}");
    }
    let cycle = trace.iter().find(|span| span.name == "hostname.cycle");
    assert!(
        cycle
            .unwrap()
            .linked_traces
            .contains(&CALLERS[1].to_owned())
    );
}

#[tokio::test]
async fn a_trace_goes_through_a_service_that_has_no_collector() {
    let collector = Collector::start().unwrap();
    let locks = Service::new("shared-lock-svc")
        .env("SHARED_LOCK_STORAGE_TYPE", "memory")
        .env("SHARED_LOCK_OTLP_ENDPOINT", collector.url());
    let locks = locks.start().await.unwrap();
    let vault = Vault::of(open_bao().await);
    let service = vault.service(open_bao().await.address(), "unrecorded", locks.url());
    let app = TestApp::with(service.await).await;
    assert_eq!(call(&app, CALLERS[0]).await.counter(), 1);
    app.service.terminate().await.unwrap();
    locks.terminate().await.unwrap();

    let spans = collector.spans();
    for name in ["acquire", "release"].map(|verb| format!("POST /v1/locks/{{key}}/{verb}")) {
        let span = spans
            .iter()
            .find(|span| span.name == name && span.trace_id == CALLERS[0]);
        let span = span.unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
        assert_eq!(span.parent_id, CALLER, "it hangs on what was recorded");
    }
}

async fn call(app: &TestApp, trace: &str) -> Answer {
    let request = app.client.post(app.url("/v1/hostnames"));
    let request = request
        .json(&wish("splunk", "web", "dev"))
        .header("traceparent", format!("00-{trace}-{CALLER}-01"));
    app.answer(request).await
}
