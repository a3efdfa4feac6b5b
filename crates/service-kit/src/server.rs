//! The HTTP server of a service: its common routes, and its way down.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App, FromRequest, Handler, HttpRequest, HttpResponse, HttpServer, Resource, Responder,
    dev::Server,
    http::header::ContentType,
    middleware::from_fn,
    web::{self, Data, ServiceConfig},
};
use prometheus::{Registry, TextEncoder};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::{
    body::BodyLimits,
    connection,
    duration::{GoDuration, LongDuration},
    health::Health,
    metrics::HttpMetrics,
    openapi,
    problem::{COMMON, INTERNAL, MALFORMED, NOT_FOUND, NOT_READY, Problem, ProblemKind},
    request::observe,
    settings,
    settings::{Flag, Number, SettingsError},
};

settings! {
    /// The HTTP server.
    pub struct ServerSettings {
        /// Lets everybody who reaches the address call the service: needed for any address but loopback.
        pub allow_anonymous: Flag => Setting::env("ALLOW_ANONYMOUS").default("false").allowed("`true` or `false`"),
        /// How long a request may take to arrive: its head, then its body.
        // actix looks at its clock twice a second: a shorter time would refuse what came in time.
        pub read_timeout: LongDuration<1000> => Setting::env("SERVER_READ_TIMEOUT").default("10s").allowed("a duration from `1s`"),
        /// How long a connection may be open without a request.
        pub idle_timeout: GoDuration => Setting::env("SERVER_IDLE_TIMEOUT").default("120s").allowed("a duration such as `120s`"),
        /// How long open requests may go on after SIGTERM.
        pub shutdown_timeout: GoDuration => Setting::env("SERVER_SHUTDOWN_TIMEOUT").default("10s").allowed("a duration such as `10s`"),
        /// How long to go on accepting requests after SIGTERM while `/readyz` already says no.
        pub drain_delay: GoDuration => Setting::env("SERVER_DRAIN_DELAY").default("0s").allowed("a duration such as `5s`"),
        /// Largest body of a native call, in bytes.
        pub body_limit: Number<1, { 1 << 30 }> => Setting::env("SERVER_BODY_LIMIT").default("65536").allowed("a number of bytes from 1 to 1073741824"),
        /// Threads that answer requests; 0 is one per core.
        pub workers: Number<0, 512> => Setting::env("SERVER_WORKERS").default("0").allowed("a number from 0 to 512"),
    }
}

/// What a server needs besides its own routes.
pub struct Parts {
    /// Where it listens.
    pub listener: TcpListener,
    /// How it behaves.
    pub settings: ServerSettings,
    /// What `/readyz` says.
    pub health: Arc<Health>,
    /// What `/metrics` shows.
    pub registry: Registry,
    /// The kinds of problems beside the common ones, for `/problems/{code}`.
    pub problems: &'static [&'static ProblemKind],
    /// What `/openapi.json` tells.
    pub document: openapi::Document,
}

/// Binds `address`, unless it is open to others and nobody said that it may be.
///
/// # Errors
/// The address is refused, or taken.
pub fn bind(
    address: SocketAddr,
    settings: &ServerSettings,
    prefix: &str,
) -> anyhow::Result<TcpListener> {
    check(address, settings, prefix)?;
    let listener = TcpListener::bind(address)
        .map_err(|err| SettingsError(format!("cannot listen on {address}: {err}")))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Checks what [`bind`] would refuse, for a service that opens a store before it listens.
///
/// # Errors
/// The address is open to others and nobody said that it may be.
pub fn check(
    address: SocketAddr,
    settings: &ServerSettings,
    prefix: &str,
) -> Result<(), SettingsError> {
    if !address.ip().is_loopback() && !settings.allow_anonymous.0 {
        return Err(SettingsError(format!(
            "listening on {address} lets everybody who reaches it call the service: \
             set {prefix}_ALLOW_ANONYMOUS=true if that is meant, or listen on a loopback address"
        )));
    }
    Ok(())
}

/// Serves `routes` beside the common ones until `shutdown` resolves, then drains.
///
/// # Errors
/// The server could not start, or failed.
pub async fn serve(
    parts: Parts,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let address = parts.listener.local_addr()?;
    let health = Arc::clone(&parts.health);
    let drain_delay = parts.settings.drain_delay.0;
    let server = start(parts, routes)?;
    if !address.ip().is_loopback() {
        warn!(server.address = %address, "everybody who reaches {address} may call this service");
    }
    connection::raise_open_files();
    info!(server.address = %address, "listening on http://{address}");
    let down = async {
        shutdown.await;
        info!("shutting down");
        health.start_draining();
        tokio::time::sleep(drain_delay).await;
    };
    tokio::select! {
        stopped = run_until(server, down) => stopped?,
        never = health.watch() => match never {},
    }
    info!("all requests are answered");
    Ok(())
}

fn start(
    parts: Parts,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> anyhow::Result<Server> {
    let Parts {
        listener,
        settings,
        health,
        registry,
        problems,
        document,
    } = parts;
    let limits = Data::new(BodyLimits {
        size: settings.body_limit.0,
        time: settings.read_timeout.0,
    });
    let http = Data::new(HttpMetrics::register(&registry)?);
    let (health, registry) = (Data::from(health), Data::new(registry));
    let (problems, document) = (Data::new(problems), Data::new(document));
    let app = move || {
        App::new()
            .wrap(from_fn(observe))
            .app_data(limits.clone())
            .app_data(http.clone())
            .app_data(health.clone())
            .app_data(registry.clone())
            .app_data(problems.clone())
            .app_data(document.clone())
            .configure(refusals)
            .configure(routes.clone())
            .configure(common)
    };
    let idle = settings.idle_timeout.0 + settings.read_timeout.0;
    let mut server = HttpServer::new(app)
        .disable_signals()
        .on_connect(move |io, extensions| connection::watch(io, extensions, idle))
        .client_request_timeout(settings.read_timeout.0)
        .keep_alive(settings.idle_timeout.0)
        .shutdown_timeout(settings.shutdown_timeout.0.as_secs_f64().ceil() as u64)
        .h1_allow_half_closed(false)
        .tcp_nodelay(true);
    if settings.workers.0 > 0 {
        server = server.workers(settings.workers.0);
    }
    Ok(server.listen(listener)?.run())
}

/// Runs `server` until it fails or `shutdown` resolves, then drains open requests.
async fn run_until(server: Server, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let handle = server.handle();
    let mut server = pin!(server);
    tokio::select! {
        stopped = &mut server => return stopped,
        () = shutdown => (),
    }
    let ((), stopped) = tokio::join!(handle.stop(true), server);
    stopped
}

/// Resolves at the first SIGTERM or SIGINT.
///
/// # Errors
/// The process may not listen for signals.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}

/// What the routes of a service may put something else in the place of.
fn refusals(config: &mut ServiceConfig) {
    let malformed = |detail: String| Problem::new(&MALFORMED, detail).into();
    config
        .app_data(
            web::PathConfig::default()
                .error_handler(move |err, _| malformed(format!("path: {err}"))),
        )
        .default_service(web::to(|| async {
            Err::<HttpResponse, _>(Problem::new(&NOT_FOUND, "no such path"))
        }));
}

/// The routes of every service. Its own come first, so one on the same path takes its place.
pub(crate) fn common(config: &mut ServiceConfig) {
    config
        .service(probe("/livez", livez))
        .service(probe("/readyz", readyz))
        .service(probe("/health", livez))
        .service(probe("/metrics", metrics))
        .service(probe("/problems/{code}", problem))
        .configure(openapi::serve);
}

/// Probes of all kinds ask by GET or by HEAD.
fn probe<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let resource = web::resource(path).get(handler.clone());
    resource.route(web::head().to(handler))
}

/// `GET /livez`: this process answers.
pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().finish()
}

async fn readyz(request: HttpRequest, health: Data<Health>) -> Result<HttpResponse, Problem> {
    let checks = health.checks().await;
    let faults: Vec<_> = checks
        .iter()
        .filter_map(|c| Some(format!("{}: {}", c.name, c.fault.as_ref()?)))
        .collect();
    if !faults.is_empty() {
        return Err(Problem::new(&NOT_READY, faults.join("; "))
            .with("checks", faults)
            .retry_after(Duration::from_secs(1)));
    }
    let mut parameters = request.query_string().split('&');
    let lines = match parameters.any(|it| it.split('=').next() == Some("verbose")) {
        true => checks
            .iter()
            .map(|check| format!("{}: ok\n", check.name))
            .collect(),
        false => String::new(),
    };
    Ok(HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .body(format!("{lines}ready\n")))
}

/// `GET /metrics`: all that is counted, for Prometheus.
///
/// # Errors
/// A metric cannot be written.
pub async fn metrics(registry: Data<Registry>) -> Result<HttpResponse, Problem> {
    let text = TextEncoder::new()
        .encode_to_string(&registry.gather())
        .map_err(|err| Problem::new(&INTERNAL, format!("metrics could not be written: {err}")))?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text))
}

async fn problem(
    code: web::Path<String>,
    own: Data<&'static [&'static ProblemKind]>,
) -> Result<HttpResponse, Problem> {
    let kind = COMMON
        .iter()
        .chain(own.iter())
        .find(|kind| kind.code == *code)
        .ok_or_else(|| Problem::new(&NOT_FOUND, "no such kind of problem"))?;
    let text = format!(
        "{} ({})\n\n{}\n{}\nThe same call may succeed later: {}.\n",
        kind.code,
        kind.status,
        kind.title,
        kind.remedy,
        if kind.retryable { "yes" } else { "no" },
    );
    Ok(HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .body(text))
}
