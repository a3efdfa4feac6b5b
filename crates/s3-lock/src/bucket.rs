//! The calls of S3 that a lock needs, each made once: a repeated conditional write would not know its
//! own first try.

mod credentials;
mod listing;
mod probe;

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqsign_aws_v4::{Credential, RequestSigner};
use reqsign_core::Signer;
use reqwest::{Certificate, Client, Response, Url};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

pub use self::{credentials::Keys, listing::Version};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The largest document that is read: a register writes none that is nearly as large.
const LARGEST: usize = 8 * 1024 * 1024;

/// What a header of one's own metadata begins with.
const METADATA: &str = "x-amz-meta-";

/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

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
    NotSent(#[source] Cause),
    /// No answer, or one that does not tell: a write may have happened.
    #[error("no usable answer from S3")]
    Unknown(#[source] Cause),
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

impl S3Options {
    /// A bucket of AWS, with the keys that its tools would find.
    pub fn new(region: impl Into<String>, bucket: impl Into<String>) -> Self {
        Self {
            endpoint: None,
            region: region.into(),
            bucket: bucket.into(),
            path_style: false,
            keys: None,
            sts_endpoint: None,
            ca_file: None,
        }
    }
}

/// On what a write depends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// On nothing.
    None,
    /// That nothing is there.
    Absent,
    /// That what is there has this ETag.
    Is(String),
}

/// What is to be written.
#[derive(Debug, Clone)]
pub struct Put {
    /// On what it depends.
    pub condition: Condition,
    /// The object's metadata: names in lower case, texts in ASCII.
    pub metadata: Vec<(&'static str, String)>,
    /// What is in it: JSON.
    pub body: Vec<u8>,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is written.
    As {
        /// The object's ETag.
        tag: String,
        /// Its version, where the bucket keeps them.
        version: Option<String>,
    },
    /// Its condition does not hold, or did not at some moment.
    Refused,
}

/// An object as it was read.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its ETag.
    pub tag: String,
    /// What is in it.
    pub body: Vec<u8>,
}

/// A bucket.
#[derive(Debug)]
pub struct Bucket {
    http: Client,
    signer: Signer<Credential>,
    base: String,
    options: S3Options,
}

impl Bucket {
    /// A bucket; nothing is asked of it yet.
    ///
    /// # Errors
    /// An option cannot be used.
    pub fn new(options: S3Options) -> Result<Self, S3Error> {
        let base = base(&options)?;
        let http = client(&options)?;
        let signer = RequestSigner::new("s3", &options.region);
        Ok(Self {
            signer: credentials::signer(&options, http.clone(), signer)?,
            http,
            base,
            options,
        })
    }

    /// Where it is, and who we are to it.
    pub fn options(&self) -> &S3Options {
        &self.options
    }

    /// An object; `None` if there is none. A read is repeated a little.
    ///
    /// # Errors
    /// S3 did not tell, or not us.
    pub async fn get(&self, object: &str) -> Result<Option<Object>, S3Error> {
        again(|| self.get_once(object)).await
    }

    /// The metadata of one version of an object; `None` if there is none (any more).
    ///
    /// # Errors
    /// S3 did not tell, or not us.
    pub async fn metadata(
        &self,
        object: &str,
        version: &str,
    ) -> Result<Option<BTreeMap<String, String>>, S3Error> {
        again(|| self.metadata_once(object, version)).await
    }

    /// All versions of an object, the first one first; those that only say that it was deleted are left out.
    ///
    /// # Errors
    /// S3 did not tell, or not us.
    pub async fn versions(&self, object: &str) -> Result<Vec<Version>, S3Error> {
        again(|| self.versions_once(object)).await
    }

    /// Removes one version of an object for good. One that is gone already is no failure.
    ///
    /// # Errors
    /// S3 did not tell, or does not let us.
    pub async fn delete_version(&self, object: &str, version: &str) -> Result<(), S3Error> {
        let call = Call::new(Method::DELETE, of_version(object, version));
        let answer = self.send(call).await?;
        match answer.status() {
            StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(failure(answer).await),
        }
    }

    /// Writes an object under a condition, once.
    ///
    /// # Errors
    /// [`S3Error::Unknown`] when it may have been written, or may yet be; any other when it was not.
    pub async fn put(&self, object: &str, put: Put) -> Result<Written, S3Error> {
        let mut call = Call::new(Method::PUT, path_of(object));
        call.header(header::CONTENT_TYPE, "application/json")?;
        match put.condition {
            Condition::None => {}
            Condition::Absent => call.header(header::IF_NONE_MATCH, "*")?,
            Condition::Is(tag) => call.header(header::IF_MATCH, &tag)?,
        }
        for (name, text) in put.metadata {
            let name = HeaderName::try_from(format!("{METADATA}{name}"));
            call.header(
                name.map_err(|err| S3Error::Refused(err.to_string()))?,
                &text,
            )?;
        }
        call.body = put.body;
        let answer = self.send(call).await?;
        match answer.status() {
            StatusCode::OK => Ok(Written::As {
                tag: tag_of(&answer)?,
                version: text_of(answer.headers(), "x-amz-version-id"),
            }),
            // 409: somebody else wrote at the same moment.
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => Ok(Written::Refused),
            StatusCode::NOT_FOUND => match failure(answer).await {
                S3Error::NoBucket => Err(S3Error::NoBucket),
                _ => Ok(Written::Refused),
            },
            _ => Err(failure(answer).await),
        }
    }

    async fn get_once(&self, object: &str) -> Result<Option<Object>, S3Error> {
        let answer = self.send(Call::new(Method::GET, path_of(object))).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(Object {
                tag: tag_of(&answer)?,
                body: body_of(answer).await?,
            })),
            StatusCode::NOT_FOUND => match failure(answer).await {
                S3Error::NoBucket => Err(S3Error::NoBucket),
                _ => Ok(None),
            },
            _ => Err(failure(answer).await),
        }
    }

    async fn metadata_once(
        &self,
        object: &str,
        version: &str,
    ) -> Result<Option<BTreeMap<String, String>>, S3Error> {
        let call = Call::new(Method::HEAD, of_version(object, version));
        let answer = self.send(call).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(metadata_of(answer.headers()))),
            // An answer without a body does not say what is missing: the version, since it was listed before.
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(failure(answer).await),
        }
    }

    async fn versions_once(&self, object: &str) -> Result<Vec<Version>, S3Error> {
        let prefix = utf8_percent_encode(object, NON_ALPHANUMERIC);
        let path = format!("?max-keys=1000&prefix={prefix}&versions");
        let answer = self.send(Call::new(Method::GET, path)).await?;
        match answer.status() {
            StatusCode::OK => listing::parse(&body_of(answer).await?, object),
            _ => Err(failure(answer).await),
        }
    }

    async fn send(&self, call: Call) -> Result<Response, S3Error> {
        let wrong = |err: http::Error| S3Error::Refused(err.to_string());
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.base, call.path))
            .header("x-amz-content-sha256", hex(&Sha256::digest(&call.body)));
        if let Some(headers) = request.headers_mut() {
            headers.extend(call.headers);
        }
        let (mut head, body) = request.body(call.body).map_err(wrong)?.into_parts();
        self.signer
            .sign(&mut head, None)
            .await
            .map_err(|err| S3Error::NotSent(format!("no credentials: {err}").into()))?;
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

/// One request before it is signed.
struct Call {
    method: Method,
    /// With the `/` before it, or a query.
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Call {
    fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            headers: HeaderMap::new(),
            body: Vec::new(),
        }
    }

    fn header(&mut self, name: HeaderName, text: &str) -> Result<(), S3Error> {
        let value = HeaderValue::try_from(text).map_err(|err| S3Error::Refused(err.to_string()))?;
        self.headers.insert(name, value);
        Ok(())
    }
}

/// Repeats a read whose answer did not come.
async fn again<T, F>(read: impl Fn() -> F) -> Result<T, S3Error>
where
    F: Future<Output = Result<T, S3Error>>,
{
    const TRIES: u32 = 3;
    let mut tries = 0;
    loop {
        tries += 1;
        match read().await {
            Err(S3Error::Unknown(_)) if tries < TRIES => {
                sleep(Duration::from_millis(40) * tries).await;
            }
            answer => return answer,
        }
    }
}

fn path_of(object: &str) -> String {
    format!("/{}", utf8_percent_encode(object, PLAIN))
}

fn of_version(object: &str, version: &str) -> String {
    let version = utf8_percent_encode(version, NON_ALPHANUMERIC);
    format!("{}?versionId={version}", path_of(object))
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
    let missing = || S3Error::Unknown("the answer has no ETag".into());
    text_of(answer.headers(), "etag").ok_or_else(missing)
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name).map(HeaderValue::to_str)?;
    text.ok().map(str::to_owned)
}

fn metadata_of(headers: &HeaderMap) -> BTreeMap<String, String> {
    let own = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(METADATA)?;
        Some((name.to_owned(), value.to_str().ok()?.to_owned()))
    });
    own.collect()
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
        408 | 429 | 500..=599 => S3Error::Unknown(said.into()),
        _ => S3Error::Refused(said),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
