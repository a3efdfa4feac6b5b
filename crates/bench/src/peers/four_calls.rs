//! The four-call lease: what tentens-tech/shared-lock does for a `POST /lease`, on the same HTTP server as ours. Read the
//! holder, grant a lease, create the key on it, keep the lease alive once: four calls, one after the other.

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    error::ErrorInternalServerError,
    web::{self, Data},
};
use anyhow::Result;
use etcd_client::{Client, Compare, CompareOp, Error, PutOptions, Txn, TxnOp};
use serde::Deserialize;

/// What it says when it is ready, before its address.
pub(crate) const LISTENING: &str = "four-call lease on ";

#[derive(Deserialize)]
struct Body {
    key: String,
    value: String,
}

/// Serves until it is killed.
pub(crate) async fn serve(etcd: String) -> Result<()> {
    let client = Client::connect([etcd], None).await?;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(client.clone()))
            .route("/lease", web::post().to(lease))
    })
    .bind("127.0.0.1:0")?;
    for address in server.addrs() {
        eprintln!("{LISTENING}http://{address}");
    }
    Ok(server.run().await?)
}

async fn lease(
    request: HttpRequest,
    body: web::Bytes,
    client: Data<Client>,
) -> actix_web::Result<HttpResponse> {
    let Body { key, value } = serde_json::from_slice(&body)?;
    let ttl = request
        .headers()
        .get("x-lease-ttl")
        .and_then(|ttl| ttl.to_str().ok()?.strip_suffix('s')?.parse().ok())
        .unwrap_or(10);
    let taken = take(&client, format!("/shared-lock/{key}"), value, ttl).await;
    Ok(match taken.map_err(ErrorInternalServerError)? {
        Ok(lease) => HttpResponse::Created().body(lease.to_string()),
        Err(holder) => HttpResponse::Accepted().body(holder.to_string()),
    })
}

/// The four calls: our lease, or the holder's.
async fn take(
    client: &Client,
    key: String,
    value: String,
    ttl: i64,
) -> Result<Result<i64, i64>, Error> {
    let mut client = client.clone();
    let held = client.get(key.as_str(), None).await?;
    if let Some(holder) = held.kvs().first() {
        return Ok(Err(holder.lease()));
    }
    let lease = client.lease_grant(ttl, None).await?.id();
    let put = TxnOp::put(
        key.as_str(),
        value,
        Some(PutOptions::new().with_lease(lease)),
    );
    let create = Txn::new()
        .when([Compare::create_revision(key, CompareOp::Equal, 0)])
        .and_then([put]);
    if !client.txn(create).await?.succeeded() {
        return Ok(Err(0));
    }
    client.lease_keep_alive(lease).await?;
    Ok(Ok(lease))
}
