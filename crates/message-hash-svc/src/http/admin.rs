//! What only the administrator may do.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use secrecy::ExposeSecret;
use serde_json::json;
use service_kit::problem::Problem;
use service_kit::query::{NoQuery, Query};
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::digest::Digest;
use crate::http::messages::digest_in;
use crate::http::refusal::Refusal;
use crate::http::{Rules, answer};
use crate::messages::{Messages, Scrubbed};
use crate::store::Backup;

/// Bytes of a backup that are sent at once.
const PIECE: usize = 64 * 1024;

/// What stands before the key.
const BEARER: &[u8] = b"Bearer ";

/// Pieces that wait for a slow receiver; then the backup waits too.
const PIECES_AHEAD: usize = 8;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/admin/backup").get(backup))
        .service(web::resource("/admin/scrub").post(scrub));
}

/// `DELETE /messages/{digest}`; deleting again is no error. With `?block=true` it may not be kept again.
pub(super) async fn delete(
    request: HttpRequest,
    query: Query,
    messages: Data<Messages>,
    rules: Data<Rules>,
) -> Result<HttpResponse, Problem> {
    expect_admin(&request, &rules)?;
    let digest = digest_in(&request).ok_or(Refusal::NotFound)?;
    query.expect_only(&["block"])?;
    let block = match query.0.first().map(|(_, value)| value.as_str()) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            return Err(Refusal::Invalid {
                field: "block",
                allowed: "expected `true` or `false`".to_owned(),
            }
            .into());
        }
    };
    let deleted = messages.delete(&digest, block).await;
    let deleted = deleted.map_err(Refusal::from)?;
    if deleted.outcome {
        let mut response = HttpResponse::NoContent();
        answer::place(&mut response, &deleted.tokens);
        Ok(response.finish())
    } else {
        Err(Refusal::NotFound.into())
    }
}

/// `GET /admin/backup`: the store as one stream, which is whole only when it ends as a backup does.
async fn backup(
    request: HttpRequest,
    store: Data<Option<Arc<dyn Backup>>>,
    rules: Data<Rules>,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    expect_admin(&request, &rules)?;
    let store = store.as_ref().clone().ok_or(Refusal::NoBackup)?;
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(PIECE, Pieces(sender.clone()));
        match store.backup(&mut out, &mut |_| ()) {
            Ok(done) => info!(
                rows = done.rows,
                damaged = done.damaged,
                "{} rows backed up",
                done.rows
            ),
            Err(fault) => {
                error!(error = %fault, "the backup failed");
                // Breaks the connection, so that nobody takes it for whole.
                let _ = sender.blocking_send(Err(io::Error::other("the backup failed")));
            }
        }
    });
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .streaming(stream_of(pieces)))
}

/// `POST /admin/scrub`: hashes every message, and tells how far it is in a JSON object a line.
async fn scrub(
    request: HttpRequest,
    messages: Data<Messages>,
    rules: Data<Rules>,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    expect_admin(&request, &rules)?;
    let (sender, lines) = mpsc::channel(PIECES_AHEAD);
    let messages = messages.into_inner();
    tokio::spawn(async move {
        // Lines that nobody reads in time are left out.
        let told = |so_far| drop(sender.try_send(Ok(line(&so_far, false))));
        let end = match messages.scrub(None, told).await {
            Ok(done) => Ok(line(&done, true)),
            Err(fault) => Err(io::Error::other(fault)),
        };
        let _ = sender.send(end).await;
    });
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .streaming(stream_of(lines)))
}

fn line(so_far: &Scrubbed, done: bool) -> Bytes {
    let line = json!({
        "checked": so_far.checked, "of": so_far.of, "damaged": so_far.damaged, "done": done,
    });
    format!("{line}\n").into()
}

fn stream_of(
    receiver: mpsc::Receiver<io::Result<Bytes>>,
) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    })
}

/// A writer whose bytes go to the receiver of an answer.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        self.0
            .blocking_send(Ok(piece))
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets only the administrator pass.
pub(super) fn expect_admin(request: &HttpRequest, rules: &Rules) -> Result<(), Refusal> {
    let key = rules.admin_key.as_ref().ok_or(Refusal::AdminOff)?;
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.and_then(bearer_key).unwrap_or_default();
    // Digests, so that the time of the comparison says nothing about the key.
    let is_right = Digest::of(given) == Digest::of(key.expose_secret().as_bytes());
    is_right.then_some(()).ok_or(Refusal::Unauthorized)
}

/// The key behind the scheme, whose case does not matter (RFC 9110 §11.1).
fn bearer_key(given: &HeaderValue) -> Option<&[u8]> {
    let (scheme, key) = given.as_bytes().split_at_checked(BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER).then_some(key)
}
