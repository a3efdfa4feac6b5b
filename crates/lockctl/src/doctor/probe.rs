//! One server, asked step by step: does it listen, speak, know us, have a store.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::DATE;
use reqwest::{Client, Response};

use super::finding::{Finding, Kind};
use crate::cli::{Connection, Wire};
use crate::connect;
use crate::exit::chain;

/// How far apart two clocks may be: more than any network takes.
const CLOCKS: Duration = Duration::from_secs(30);

/// What is wrong with one server, or that nothing is.
pub(crate) async fn server(connection: &Connection, url: &str) -> Vec<Finding> {
    let url = url.trim_end_matches('/');
    let found = |kind, what: String| Finding::new(kind, url, what);
    let client = match lock_client::http_client(&connect::options(connection)) {
        Ok(client) => client,
        Err(error) => return vec![found(Kind::Trouble, error.to_string())],
    };
    let alive = match ask(connection, &client, &format!("{url}/livez")).await {
        Ok(answer) => answer,
        Err(error) => {
            let (kind, what) = unreachable(connection, url, &error).await;
            return vec![found(kind, what)];
        }
    };
    let mut findings = Vec::new();
    findings.extend(clock(&alive).map(|what| found(Kind::ClockOff, what)));
    let (kind, what) = match connection.wire {
        Wire::V1 => native(connection, &client, url, &alive).await,
        Wire::Lease => old(connection, &client, url).await,
    };
    findings.push(found(kind, what));
    findings
}

async fn ask(
    connection: &Connection,
    client: &Client,
    url: &str,
) -> Result<Response, reqwest::Error> {
    let mut request = client.get(url).timeout(connection.timeout);
    let token = connection.bearer_token_file.as_ref();
    if let Some(token) = token.and_then(|file| std::fs::read_to_string(file).ok()) {
        request = request.bearer_auth(token.trim());
    }
    request.send().await.map_err(reqwest::Error::without_url)
}

/// Why no HTTP came back.
async fn unreachable(connection: &Connection, url: &str, error: &reqwest::Error) -> (Kind, String) {
    let why = chain(error);
    let says = |text: &str| why.contains(text);
    let kind = if says("Expired") || says("expired") {
        Kind::ExpiredCertificate
    } else if says("UnknownIssuer") || says("BadSignature") {
        Kind::UnknownAuthority
    } else if says("NotValidForName") || says("not valid for name") {
        Kind::OtherCertificate
    } else if says("CertificateRequired") || says("certificate required") {
        Kind::ClientCertificate
    } else if says("InvalidContentType") || says("corrupt message") {
        Kind::TlsToPlain
    } else if error.is_timeout() {
        Kind::Silent
    } else if says("refused") || says("dns error") || says("lookup") || says("unreachable") {
        Kind::NobodyListens
    } else if url.starts_with("http://") && speaks_tls(connection, url).await {
        Kind::PlainToTls
    } else {
        Kind::NotALockService
    };
    (kind, why)
}

/// Whether a handshake gets as far as a certificate.
async fn speaks_tls(connection: &Connection, url: &str) -> bool {
    let url = url.replacen("http://", "https://", 1);
    let client = Client::builder().no_proxy().tls_certs_only([]).build();
    let Ok(client) = client else { return false };
    match client.get(&url).timeout(connection.timeout).send().await {
        Ok(_) => true,
        Err(error) => chain(&error).contains("certificate"),
    }
}

async fn native(
    connection: &Connection,
    client: &Client,
    url: &str,
    alive: &Response,
) -> (Kind, String) {
    if let Some(refused) = refused(alive) {
        return refused;
    }
    // Reads nothing but a page of one lock that there is not.
    let page = format!("{url}/v1/locks?limit=1&prefix=lockctl-doctor%2Fnone");
    let page = match ask(connection, client, &page).await {
        Ok(page) => page,
        Err(error) => return (Kind::Trouble, chain(&error)),
    };
    if let Some(refused) = refused(&page) {
        return refused;
    }
    let status = page.status().as_u16();
    let text = page.text().await.unwrap_or_default();
    match status {
        200 if text.contains("\"locks\"") => {}
        // Not every store can list its locks.
        501 if text.contains("unsupported-by-store") => {}
        404 if text.starts_with("404 page not found") => {
            return match ask(connection, client, &format!("{url}/health")).await {
                Ok(answer) if answer.status().is_success() => (
                    Kind::WrongWire,
                    "/health answers, /v1 is not there".to_owned(),
                ),
                _ => (
                    Kind::NotALockService,
                    "neither /v1 nor /health is there".to_owned(),
                ),
            };
        }
        500.. if text.contains("store-") => return (Kind::StoreDown, text),
        500.. => return (Kind::Trouble, format!("/v1/locks answers {status}: {text}")),
        _ => return (Kind::NotALockService, format!("/v1/locks answers {status}")),
    }
    match ask(connection, client, &format!("{url}/readyz?verbose")).await {
        Ok(answer) if answer.status().is_success() => (Kind::Well, "it is ready".to_owned()),
        Ok(answer) => {
            let text = answer.text().await.unwrap_or_default();
            (
                Kind::StoreDown,
                format!("it lives and is not ready: {text}"),
            )
        }
        Err(error) => (Kind::Trouble, chain(&error)),
    }
}

async fn old(connection: &Connection, client: &Client, url: &str) -> (Kind, String) {
    match ask(connection, client, &format!("{url}/health")).await {
        Ok(answer) if answer.status().is_success() => (
            Kind::Well,
            "/health answers; it does not tell of its etcd".to_owned(),
        ),
        Ok(answer) => {
            let status = answer.status();
            (Kind::NotALockService, format!("/health answers {status}"))
        }
        Err(error) => (Kind::Trouble, chain(&error)),
    }
}

fn refused(answer: &Response) -> Option<(Kind, String)> {
    match answer.status().as_u16() {
        401 => Some((Kind::Unauthenticated, "it answers 401".to_owned())),
        403 => Some((Kind::Forbidden, "it answers 403".to_owned())),
        _ => None,
    }
}

/// How far off its clock is, if it is too far.
fn clock(answer: &Response) -> Option<String> {
    let date = answer.headers().get(DATE)?.to_str().ok()?;
    let theirs = DateTimeParser::new().parse_timestamp(date).ok()?;
    let ours = Timestamp::try_from(SystemTime::now()).ok()?;
    let apart = ours.duration_since(theirs).unsigned_abs();
    (apart > CLOCKS).then(|| {
        let apart = apart.as_secs();
        format!("its clock and ours are {apart}s apart")
    })
}
