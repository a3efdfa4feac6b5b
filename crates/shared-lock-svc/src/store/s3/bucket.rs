//! The two calls of S3 that a register needs, each made once: a repeated conditional write would not
//! know its own first try.

use std::{fs, path::PathBuf, time::Duration};

use http::{HeaderValue, Method, Request, StatusCode, header};
use reqsign_aws_v4::{Credential, RequestSigner};
use reqsign_core::Signer;
use reqwest::{Certificate, Client, Response, Url};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::credentials::{self, Keys};

/// The largest document that is read: a register writes none that is nearly as large.
const LARGEST: usize = 8 * 1024 * 1024;

/// Where a bucket is, and who we are.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// URL of the server; `None` for that of AWS in the region.
    pub endpoint: Option<String>,
    /// Region that requests are signed for.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Whether the bucket stands in the path and not in the name of the host.
    pub path_style: bool,
    /// Keys; `None` takes those of the environment, of AWS's files or of a web identity.
    pub keys: Option<Keys>,
    /// URL of the service that gives keys for a web identity; `None` for AWS's.
    pub sts_endpoint: Option<String>,
    /// PEM file with the only certificate authorities to be trusted.
    pub ca_file: Option<PathBuf>,
}

/// Why a call to S3 did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// An option cannot be used: which, and why.
    #[error("S3 option {0}: {1}")]
    Option(&'static str, String),
    /// S3 was not reached, or there are no credentials.
    #[error("S3 cannot be reached")]
    NotSent(#[source] anyhow::Error),
    /// No answer, or one that does not tell: a write may have happened.
    #[error("no usable answer from S3")]
    Unknown(#[source] anyhow::Error),
    /// S3 does not let us.
    #[error("S3 refuses us: {0}")]
    Forbidden(String),
    /// There is no such bucket.
    #[error("there is no such bucket")]
    NoBucket,
    /// S3 calls the request wrong, or the object is not ours.
    #[error("S3 refuses: {0}")]
    Refused(String),
}

/// On what a write depends.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// That nothing is there.
    Absent,
    /// That what is there has this ETag.
    Is(String),
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Put {
    /// It is written, under this ETag.
    Written(String),
    /// Its condition does not hold.
    Refused,
}

/// A bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    http: Client,
    signer: Signer<Credential>,
    base: String,
}

impl Bucket {
    pub(super) fn new(options: S3Options) -> Result<Self, S3Error> {
        let base = base(&options)?;
        let http = client(&options)?;
        let signer = RequestSigner::new("s3", &options.region);
        Ok(Self {
            signer: credentials::signer(&options, http.clone(), signer)?,
            http,
            base,
        })
    }

    /// The ETag of an object and what is in it; `None` if there is none. A read may be repeated.
    pub(super) async fn get(&self, object: &str) -> Result<Option<(String, Value)>, S3Error> {
        const TRIES: u32 = 3;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.get_once(object).await {
                Err(S3Error::Unknown(_)) if tries < TRIES => {
                    sleep(Duration::from_millis(40) * tries).await;
                }
                answer => return answer,
            }
        }
    }

    async fn get_once(&self, object: &str) -> Result<Option<(String, Value)>, S3Error> {
        let answer = self.send(Method::GET, object, None, Vec::new()).await?;
        match answer.status() {
            StatusCode::OK => {
                let tag = tag_of(&answer)?;
                let body = body_of(answer).await?;
                let document = serde_json::from_slice(&body).map_err(|err| {
                    S3Error::Refused(format!("the object {object} is not JSON: {err}"))
                })?;
                Ok(Some((tag, document)))
            }
            StatusCode::NOT_FOUND => match failure(answer).await {
                S3Error::NoBucket => Err(S3Error::NoBucket),
                _ => Ok(None),
            },
            _ => Err(failure(answer).await),
        }
    }

    /// Writes an object under a condition, once.
    pub(super) async fn put(
        &self,
        object: &str,
        condition: Condition,
        document: &Value,
    ) -> Result<Put, S3Error> {
        let condition = match condition {
            Condition::Absent => (header::IF_NONE_MATCH, "*".to_owned()),
            Condition::Is(tag) => (header::IF_MATCH, tag),
        };
        let body = format!("{document:#}\n").into_bytes();
        let answer = self
            .send(Method::PUT, object, Some(condition), body)
            .await?;
        match answer.status() {
            StatusCode::OK => Ok(Put::Written(tag_of(&answer)?)),
            // 409: somebody else wrote at the same moment.
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => Ok(Put::Refused),
            StatusCode::NOT_FOUND => match failure(answer).await {
                S3Error::NoBucket => Err(S3Error::NoBucket),
                _ => Ok(Put::Refused),
            },
            _ => Err(failure(answer).await),
        }
    }

    async fn send(
        &self,
        method: Method,
        object: &str,
        condition: Option<(header::HeaderName, String)>,
        body: Vec<u8>,
    ) -> Result<Response, S3Error> {
        let wrong = |err: http::Error| S3Error::Refused(err.to_string());
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/{object}", self.base))
            .header("x-amz-content-sha256", hex(&Sha256::digest(&body)));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some((name, value)) = condition {
            request = request.header(name, value);
        }
        let (mut head, body) = request.body(body).map_err(wrong)?.into_parts();
        self.signer
            .sign(&mut head, None)
            .await
            .map_err(|err| S3Error::NotSent(anyhow::Error::new(err).context("no credentials")))?;
        let request = Request::from_parts(head, body);
        let request = request.try_into().map_err(not_sent)?;
        self.http
            .execute(request)
            .await
            .map_err(|err| match err.is_connect() {
                true => not_sent(err),
                false => S3Error::Unknown(err.into()),
            })
    }
}

fn not_sent(err: reqwest::Error) -> S3Error {
    S3Error::NotSent(err.into())
}

/// Where the objects are, without the `/` before their names.
fn base(options: &S3Options) -> Result<String, S3Error> {
    let aws = || format!("https://s3.{}.amazonaws.com", options.region);
    let endpoint = options.endpoint.clone().unwrap_or_else(aws);
    let wrong = |why: &str| S3Error::Option("endpoint", format!("`{endpoint}` {why}"));
    let url = Url::parse(&endpoint).map_err(|err| wrong(&format!("is no URL: {err}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.path() != "/" || url.query().is_some() {
        return Err(wrong(
            "is not an http or https URL that ends after the port",
        ));
    }
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let bucket = &options.bucket;
    if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_name) {
        let why = format!("`{bucket}` is not 3 to 63 lower-case letters, digits, `-` and `.`");
        return Err(S3Error::Option("bucket", why));
    }
    let (scheme, host) = (url.scheme(), url.authority());
    Ok(match options.path_style {
        true => format!("{scheme}://{host}/{bucket}"),
        false => format!("{scheme}://{bucket}.{host}"),
    })
}

/// No redirects, which would need another signature, and no repetitions. Each call has its own deadline.
fn client(options: &S3Options) -> Result<Client, S3Error> {
    let wrong = |why: String| S3Error::Option("ca_file", why);
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_millis(500));
    if let Some(file) = &options.ca_file {
        let pem = fs::read(file).map_err(|err| wrong(format!("{}: {err}", file.display())))?;
        let authorities =
            Certificate::from_pem_bundle(&pem).map_err(|err| wrong(err.to_string()))?;
        if authorities.is_empty() {
            return Err(wrong(format!("{}: no certificate in it", file.display())));
        }
        builder = builder.tls_certs_only(authorities);
    }
    builder.build().map_err(|err| wrong(err.to_string()))
}

fn tag_of(answer: &Response) -> Result<String, S3Error> {
    let tag = answer.headers().get(header::ETAG);
    let tag = tag.map(HeaderValue::to_str).and_then(Result::ok);
    let missing = || S3Error::Unknown(anyhow::anyhow!("the answer has no ETag"));
    tag.map(str::to_owned).ok_or_else(missing)
}

async fn body_of(mut answer: Response) -> Result<Vec<u8>, S3Error> {
    let mut body = Vec::new();
    while let Some(part) = answer
        .chunk()
        .await
        .map_err(|err| S3Error::Unknown(err.into()))?
    {
        if body.len() + part.len() > LARGEST {
            return Err(S3Error::Refused("the object is too large".to_owned()));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// What an answer other than success means. Its body is XML; of that only the code matters.
async fn failure(answer: Response) -> S3Error {
    let status = answer.status();
    let text = body_of(answer).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map_or("", |(code, _)| code);
    let said = format!("{status} {code}");
    match status.as_u16() {
        _ if code == "NoSuchBucket" => S3Error::NoBucket,
        401 | 403 => S3Error::Forbidden(said),
        400 if matches!(code, "ExpiredToken" | "InvalidToken") => S3Error::Forbidden(said),
        // As SlowDown: nobody says whether the write was made first.
        408 | 429 | 500..=599 => S3Error::Unknown(anyhow::Error::msg(said)),
        _ => S3Error::Refused(said),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
