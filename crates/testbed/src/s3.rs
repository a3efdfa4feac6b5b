//! A real S3 server: versitygw on a directory.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ::http::{HeaderMap, Method, Request};
use anyhow::{Context, Result, ensure};
use reqsign_aws_v4::{RequestSigner, StaticCredentialProvider};
use reqsign_core::Signer;
use reqwest::{Client, Response};
use sha2::{Digest, Sha256};

use crate::{
    Launch, Process, Scratch, free_port, http, servers,
    slot::{Slot, process_verbs},
};

const READY: Duration = Duration::from_secs(30);
const REGION: &str = "us-east-1";
const ACCESS_KEY: &str = "holdfast";
const SECRET_KEY: &str = "holdfast-secret";
const HEALTH: &str = "/health";

/// One S3 server with path-style addresses, conditional writes and, where a bucket asks for them, versions.
pub struct S3 {
    endpoint: String,
    dir: PathBuf,
    slot: Slot,
    /// Removed when the server is dropped.
    _data: Scratch,
}

impl S3 {
    /// Starts one on a free port, with no buckets.
    ///
    /// # Errors
    /// When there is no versitygw, or it does not get ready.
    pub async fn start() -> Result<Self> {
        let data = Scratch::new("s3")?;
        let endpoint = format!("http://127.0.0.1:{}", free_port()?);
        let dir = data.path().to_owned();
        for part in ["buckets", "versions"] {
            fs::create_dir_all(dir.join(part))?;
        }
        let s3 = Self {
            slot: Slot::new(spawn(&dir, &endpoint)?),
            endpoint,
            dir,
            _data: data,
        };
        s3.ready().await?;
        Ok(s3)
    }

    /// Where clients connect: `http://127.0.0.1:…`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// The access key that may do everything.
    pub fn access_key(&self) -> &'static str {
        ACCESS_KEY
    }

    /// Its secret.
    pub fn secret_key(&self) -> &'static str {
        SECRET_KEY
    }

    process_verbs!();

    /// Makes a bucket that keeps one version of an object.
    ///
    /// # Errors
    /// When the name is not one (3 to 63 letters, digits and hyphens), or is taken.
    pub async fn bucket(&self, name: &str) -> Result<()> {
        succeeded(self.call(Method::PUT, name, HeaderMap::new(), "").await?).await
    }

    /// Makes a bucket that keeps every version of an object.
    ///
    /// # Errors
    /// When the name is not one, or is taken.
    pub async fn versioned_bucket(&self, name: &str) -> Result<()> {
        self.bucket(name).await?;
        let body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        let path = format!("{name}?versioning");
        succeeded(
            self.call(Method::PUT, &path, HeaderMap::new(), body)
                .await?,
        )
        .await
    }

    /// One signed call of the S3 API, as the one who may do everything. `path` is `bucket`, `bucket/key` or either with a
    /// query, percent-encoded.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<String>,
    ) -> Result<Response> {
        let client = http::client()?;
        self.call_by(&client, method, path, headers, body.into())
            .await
    }

    /// The same by a client of the caller's, for those who make many calls.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn call_by(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: String,
    ) -> Result<Response> {
        let digest = hex::encode(Sha256::digest(&body));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.endpoint))
            .header("x-amz-content-sha256", digest);
        if let Some(all) = request.headers_mut() {
            all.extend(headers);
        }
        let (mut head, ()) = request.body(())?.into_parts();
        signer().sign(&mut head, None).await?;
        let request = Request::from_parts(head, body);
        Ok(client.execute(request.try_into()?).await?)
    }

    /// Kills it if it runs and starts it again on its data and its port.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn restart(&self) -> Result<()> {
        self.kill()?;
        self.slot.replace(spawn(&self.dir, &self.endpoint)?);
        self.ready().await
    }

    async fn ready(&self) -> Result<()> {
        let health = format!("{}{HEALTH}", self.endpoint);
        self.process()
            .ready(READY, async || {
                succeeded(http::client()?.get(&health).send().await?).await
            })
            .await
    }
}

fn signer() -> Signer<reqsign_aws_v4::Credential> {
    Signer::new(
        reqsign_core::Context::new(),
        StaticCredentialProvider::new(ACCESS_KEY, SECRET_KEY),
        RequestSigner::new("s3", REGION),
    )
}

async fn succeeded(answer: Response) -> Result<()> {
    let (status, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await.context("reading the answer")?;
    ensure!(status.is_success(), "{url} answered {status}: {text}");
    Ok(())
}

fn spawn(dir: &Path, endpoint: &str) -> Result<Process> {
    Launch::new("versitygw", servers::versitygw()?)
        .args(["--access", ACCESS_KEY, "--secret", SECRET_KEY])
        .args(["--port", endpoint.trim_start_matches("http://")])
        // Without it each call is a connection of its own.
        .args(["--region", REGION, "--health", HEALTH, "--keep-alive"])
        .args(["posix", "--versioning-dir"])
        .args([dir.join("versions"), dir.join("buckets")])
        .spawn()
}
