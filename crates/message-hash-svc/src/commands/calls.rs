//! Calls of a running service: `put`, `get`, and what the administrator asks of it.

use std::io::{Read, Write};
use std::net::Ipv4Addr;

use anyhow::{Context, bail, ensure};
use clap::ArgMatches;
use reqwest::{Body, Client, Method, RequestBuilder, Response};
use secrecy::ExposeSecret;

use crate::commands::bar::Bar;
use crate::commands::file_of;
use crate::commands::piecemeal::Piecemeal;
use crate::digest::Digest;
use crate::settings::Settings;

const OCTETS: &str = "application/octet-stream";

/// Keeps a message only under the digest that it has here.
pub(super) async fn put(settings: Settings, args: ArgMatches) -> anyhow::Result<()> {
    let file = file_of(&args);
    let message = if file.as_os_str().is_empty() {
        let mut message = Vec::new();
        std::io::stdin().read_to_end(&mut message)?;
        message
    } else {
        std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?
    };
    let digest = Digest::of(&message);
    let put = call(
        &settings,
        &args,
        Method::PUT,
        &format!("/messages/{digest}"),
    )?
    .header("content-type", OCTETS)
    .body(Body::wrap(Piecemeal::new(message.into())));
    answer(put).await?;
    writeln!(std::io::stdout(), "{digest}")?;
    Ok(())
}

/// Prints a message, which has to have its digest here as well.
pub(super) async fn get(settings: Settings, args: ArgMatches) -> anyhow::Result<()> {
    let text = args
        .get_one::<String>("digest")
        .cloned()
        .unwrap_or_default();
    let digest: Digest = text.parse().with_context(|| format!("`{text}`"))?;
    let get = call(
        &settings,
        &args,
        Method::GET,
        &format!("/messages/{digest}"),
    )?;
    let mut found = answer(get.header("accept", OCTETS)).await?;
    let bar = Bar::bytes("receiving", found.content_length());
    let mut message = Vec::new();
    while let Some(piece) = found.chunk().await? {
        bar.add(piece.len());
        message.extend_from_slice(&piece);
    }
    drop(bar);
    ensure!(
        Digest::of(&message) == digest,
        "what came is not the message with this digest"
    );
    std::io::stdout().write_all(&message)?;
    Ok(())
}

/// Asks something of the service that uses the store, as its administrator.
pub(super) async fn ask(
    settings: &Settings,
    method: Method,
    path: &str,
) -> anyhow::Result<Response> {
    let key = settings.admin_key.as_ref().context(
        "the service that uses the store has to be asked: set MESSAGE_HASH_ADMIN_KEY, here as there",
    )?;
    let request = client()?.request(method, url_of(settings, path));
    answer(request.bearer_auth(key.expose_secret())).await
}

fn call(
    settings: &Settings,
    args: &ArgMatches,
    method: Method,
    path: &str,
) -> anyhow::Result<RequestBuilder> {
    let url = match args.get_one::<String>("url") {
        Some(url) => format!("{}{path}", url.trim_end_matches('/')),
        None => url_of(settings, path),
    };
    Ok(client()?.request(method, url))
}

fn url_of(settings: &Settings, path: &str) -> String {
    let mut address = settings.listen;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}{path}")
}

fn client() -> anyhow::Result<Client> {
    Ok(Client::builder().no_proxy().build()?)
}

async fn answer(request: RequestBuilder) -> anyhow::Result<Response> {
    let response = request.send().await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    bail!("{status}: {}", response.text().await.unwrap_or_default());
}
