//! What surrounds every request: its span and trace, its metrics, its name in a problem.

use std::{future::Future, rc::Rc};

use actix_web::{
    Error, ResponseError,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{StatusCode, header::HeaderMap},
    middleware::Next,
    web::Data,
};
use opentelemetry::{
    Context, global,
    propagation::Extractor,
    trace::{FutureExt, SpanContext, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use tracing::{Instrument, Span, field::Empty, info, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    connection::Connection,
    metrics::HttpMetrics,
    problem::{METHOD_NOT_ALLOWED, Problem},
};

/// Its answers are for probes, and its changes are told by who looks at the dependencies.
const READINESS: &str = "/readyz";

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// The request that the current task answers.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Path of the URL, without the query.
    pub path: String,
    /// W3C trace id; 32 hexadecimal digits as text.
    pub trace_id: TraceId,
}

impl RequestContext {
    /// The context of the request being answered, if one is.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }
}

/// The one middleware: span with the caller's trace as parent, metrics, and problem+json for what
/// actix itself refuses.
pub(crate) async fn observe<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let metrics = request.app_data::<Data<HttpMetrics>>().cloned();
    let method = known_method(request.method().as_str());
    let route = without_rules(&request.match_pattern().unwrap_or_default());
    let span = request_span(method, &route);
    let trace = join_trace(&span, request.headers());
    let connection = request.conn_data::<Rc<Connection>>().cloned();
    let context = RequestContext {
        path: request.path().to_owned(),
        trace_id: trace.span().span_context().trace_id(),
    };
    let timer = metrics
        .as_ref()
        .map(|metrics| metrics.start(method, &route));

    let answer = async {
        let response = next.call(request).await?;
        Ok::<_, Error>(refusal_as_problem(response.map_into_boxed_body()))
    };
    let answer = CURRENT.scope(context, answer).instrument(span.clone());
    let answer = answer.with_context(trace);
    let response = match connection {
        Some(connection) => while_connected(&connection, answer).await?,
        None => answer.await?,
    };

    span.record("http.response.status_code", response.status().as_u16());
    if route != READINESS {
        span.in_scope(|| tell(method, &route, &response));
    }
    if let Some(timer) = timer {
        timer.stop(response.status());
    }
    Ok(response)
}

/// Answers a request unless its client leaves before that: then the handler is dropped, and undoes what
/// it waited for.
async fn while_connected(
    connection: &Rc<Connection>,
    answer: impl Future<Output = Result<ServiceResponse<BoxBody>, Error>>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let open = connection.open();
    if !connection.has_ended() {
        let response = tokio::select! {
            biased;
            response = answer => Some(response?),
            () = connection.hung_up() => None,
        };
        if let Some(response) = response {
            return Ok(response.map_body(|_, body| open.until_sent(body).boxed()));
        }
        connection.end();
    }
    // Nobody reads it.
    Err(InternalError::new("the client hung up", StatusCode::BAD_REQUEST).into())
}

/// Says why a request was told to come again. That is no warning: who watches what is away has warned.
fn tell(method: &str, route: &str, response: &ServiceResponse<BoxBody>) {
    let error = response.response().error();
    let Some(error) = error.filter(|_| response.status() == StatusCode::SERVICE_UNAVAILABLE) else {
        return;
    };
    match error.as_error::<Problem>() {
        Some(problem) => {
            let code = problem.kind().code;
            info!(
                http.request.method = method,
                http.route = route,
                problem.code = code,
                "answered 503 {code}: {problem}"
            );
        }
        None => info!(
            http.request.method = method,
            http.route = route,
            "answered 503: {error}"
        ),
    }
}

/// A route as people know it: `/v1/locks/{key}`, whatever rule its segment is matched by.
fn without_rules(pattern: &str) -> String {
    let mut route = String::with_capacity(pattern.len());
    let (mut depth, mut in_rule) = (0_u32, false);
    for c in pattern.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => (),
        }
        in_rule = depth > 0 && (in_rule || c == ':');
        if !in_rule {
            route.push(c);
        }
    }
    route
}

fn request_span(method: &str, route: &str) -> Span {
    info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    )
}

/// The trace that a request belongs to: its caller's, or one that begins here. Where no spans are
/// recorded, its caller's span stands for ours.
fn join_trace(span: &Span, headers: &HeaderMap) -> Context {
    let parent =
        global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
    if !span.is_disabled() {
        // Fails only when no OpenTelemetry layer is installed: then there is no trace to join.
        let _ = span.set_parent(parent);
        return span.context();
    }
    if parent.span().span_context().is_valid() {
        return parent;
    }
    let ids = RandomIdGenerator::default();
    Context::new().with_remote_span_context(SpanContext::new(
        ids.new_trace_id(),
        ids.new_span_id(),
        TraceFlags::NOT_SAMPLED,
        true,
        TraceState::NONE,
    ))
}

/// actix answers a known path under an unknown method with an empty 405.
fn refusal_as_problem(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let empty = matches!(
        response.response().body().size(),
        BodySize::None | BodySize::Sized(0)
    );
    if response.status() != StatusCode::METHOD_NOT_ALLOWED || !empty {
        return response;
    }
    let (request, refused) = response.into_parts();
    let allow = refused
        .headers()
        .get(actix_web::http::header::ALLOW)
        .cloned();
    let detail = format!(
        "{} is not among the methods of this resource",
        request.method()
    );
    let mut problem = Problem::new(&METHOD_NOT_ALLOWED, detail).error_response();
    if let Some(allow) = allow {
        problem
            .headers_mut()
            .insert(actix_web::http::header::ALLOW, allow);
    }
    ServiceResponse::new(request, problem)
}

/// The method, or `_OTHER` where OpenTelemetry knows no such name: a label must not grow at will.
fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("_OTHER")
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::without_rules;

    #[test]
    fn a_route_is_named_without_the_rules_of_its_segments() {
        for (pattern, route) in [
            ("", ""),
            ("/livez", "/livez"),
            ("/v1/locks/{key:[^/]*}/acquire", "/v1/locks/{key}/acquire"),
            ("/a/{b:[0-9]{2,3}}/{c}", "/a/{b}/{c}"),
            ("/v1/locks:acquire-all", "/v1/locks:acquire-all"),
        ] {
            assert_eq!(without_rules(pattern), route);
        }
    }
}
