//! The common half of every service, driven over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod connections;
mod document;
mod refusals;
mod shutdown;
mod traces;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{
    HttpResponse,
    web::{self, ServiceConfig},
};
use async_trait::async_trait;
use serde::Deserialize;
use service_kit::{
    body::Json,
    health::{Health, Readiness},
    metrics,
    problem::{Problem, ProblemKind},
    server::{Parts, ServerSettings, bind, serve},
    settings::{Flag, load},
};
use tokio::{
    sync::{Notify, Semaphore, oneshot, watch},
    task::JoinHandle,
};

/// A service with one route of each kind that the tests need.
struct TestService {
    address: SocketAddr,
    dependency: watch::Sender<Result<(), String>>,
    entered: Arc<Notify>,
    finish: Arc<Notify>,
    /// Held by an answer of `/stream` as long as it is sent.
    streaming: Arc<Semaphore>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<anyhow::Result<()>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[expect(dead_code, reason = "only its parsing is looked at")]
    ttl_ms: u64,
}

static TEAPOT: ProblemKind = ProblemKind {
    code: "teapot",
    status: 418,
    title: "A teapot.",
    retryable: true,
    remedy: "Boil water.",
};

static PROBLEMS: &[&ProblemKind] = &[&TEAPOT];

struct Dependency(watch::Receiver<Result<(), String>>);

#[async_trait]
impl Readiness for Dependency {
    fn name(&self) -> &'static str {
        "dependency"
    }

    async fn check(&self) -> Result<(), String> {
        self.0.borrow().clone()
    }
}

impl TestService {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut ServerSettings)) -> Self {
        let mut settings: ServerSettings = load("NOBODY_SETS_THIS", None).unwrap().settings;
        settings.body_limit.0 = 100;
        change(&mut settings);
        settings.shutdown_timeout.0 = Duration::from_secs(30);
        let listener = bind("127.0.0.1:0".parse().unwrap(), &settings, "TEST").unwrap();
        let address = listener.local_addr().unwrap();
        let (dependency, watched) = watch::channel(Ok(()));
        let (entered, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (stop, stopped) = oneshot::channel::<()>();
        let parts = Parts {
            listener,
            settings,
            health: Health::new(vec![Arc::new(Dependency(watched))]),
            registry: metrics::registry().unwrap(),
            problems: PROBLEMS,
            document: document::document,
        };
        let streaming = Arc::new(Semaphore::new(1));
        let gates = (
            Arc::clone(&entered),
            Arc::clone(&finish),
            Arc::clone(&streaming),
        );
        let routes = move |config: &mut ServiceConfig| routes(config, gates.clone());
        let running = tokio::spawn(serve(parts, routes, async { drop(stopped.await) }));
        Self {
            address,
            dependency,
            entered,
            finish,
            streaming,
            stop: Some(stop),
            running,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }
}

/// Sends without end.
async fn stream(streaming: Arc<Semaphore>) -> HttpResponse {
    let permit = streaming.acquire_owned().await.unwrap();
    let chunks = futures_util::stream::unfold(permit, async |permit| {
        let chunk = web::Bytes::from_static(&[b'x'; 65_536]);
        Some((Ok::<_, Infallible>(chunk), permit))
    });
    HttpResponse::Ok().streaming(chunks)
}

type Gates = (Arc<Notify>, Arc<Notify>, Arc<Semaphore>);

fn routes(config: &mut ServiceConfig, (entered, finish, streaming): Gates) {
    let slow = move || {
        let (entered, finish) = (Arc::clone(&entered), Arc::clone(&finish));
        async move {
            entered.notify_one();
            finish.notified().await;
            HttpResponse::Ok().body("done")
        }
    };
    let teapot = || async {
        let problem =
            Problem::new(&TEAPOT, "short and stout").retry_after(Duration::from_millis(1200));
        Err::<HttpResponse, _>(problem)
    };
    config
        .service(
            web::resource("/bodies").post(|_: Json<Body>| async { HttpResponse::Ok().finish() }),
        )
        .service(
            web::resource("/numbers/{number}")
                .get(|_: web::Path<u32>| async { HttpResponse::Ok().finish() }),
        )
        .service(web::resource("/teapot").get(teapot))
        .service(web::resource("/slow").get(slow))
        .service(web::resource("/stream").get(move || stream(Arc::clone(&streaming))));
}

#[test]
fn an_address_that_others_reach_is_refused_until_somebody_says_so() {
    let mut settings: ServerSettings = load("NOBODY_SETS_THIS", None).unwrap().settings;
    let refused = bind("0.0.0.0:0".parse().unwrap(), &settings, "TEST").unwrap_err();
    assert!(
        refused.to_string().contains("TEST_ALLOW_ANONYMOUS=true"),
        "{refused}"
    );
    settings.allow_anonymous = Flag(true);
    bind("0.0.0.0:0".parse().unwrap(), &settings, "TEST").unwrap();
}
