//! A bare handler: the same HTTP server as ours, and nothing behind it.

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Result;

/// What it says when it is ready, before its address.
pub(crate) const LISTENING: &str = "bare handler on ";

/// Answers every call with the same `size` bytes of JSON, until it is killed.
pub(crate) async fn serve(size: usize) -> Result<()> {
    let body = web::Bytes::from("x".repeat(size));
    let server = HttpServer::new(move || {
        let body = body.clone();
        let answer = move || {
            let body = body.clone();
            async move {
                HttpResponse::Ok()
                    .content_type("application/json")
                    .body(body)
            }
        };
        App::new().default_service(web::to(answer))
    })
    .bind("127.0.0.1:0")?;
    for address in server.addrs() {
        eprintln!("{LISTENING}http://{address}");
    }
    Ok(server.run().await?)
}
