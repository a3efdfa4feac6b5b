//! The HTTP client, and the credentials that it shows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::header::HeaderValue;
use reqwest::{Certificate, Client, Identity};
use tracing::{info, warn};

use crate::clock::Moment;
use crate::error::Error;
use crate::options::{ClientOptions, TlsOptions};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// An HTTP client whose authorities and certificate are those in the files, also when these are replaced.
#[derive(Debug)]
pub(crate) struct Http {
    options: ClientOptions,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    client: Client,
    files: Vec<Stamp>,
    looked: Moment,
}

/// What changes with a file, or with what a link of its path leads to.
type Stamp = Option<(SystemTime, u64)>;

impl Http {
    /// # Errors
    /// [`Error::InvalidOption`]
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, Error> {
        // Looked at before they are read: what is replaced between the two is read once more.
        let (files, looked) = (stamps(&options.tls), Moment::now());
        let client = http_client(options)?;
        Ok(Self {
            options: options.clone(),
            current: Mutex::new(Current {
                client,
                files,
                looked,
            }),
        })
    }

    /// The client as of now. Files that cannot be used change nothing: they may be half written.
    pub(crate) fn client(&self) -> Client {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Moment::now();
        if now.since(current.looked) >= LOOK {
            current.looked = now;
            let files = stamps(&self.options.tls);
            if files != current.files {
                match http_client(&self.options) {
                    Ok(client) => {
                        info!("TLS files were replaced, and are used from now on");
                        (current.client, current.files) = (client, files);
                    }
                    Err(error) => warn!(%error, "TLS files were replaced and cannot be used"),
                }
            }
        }
        current.client.clone()
    }
}

fn stamps(tls: &TlsOptions) -> Vec<Stamp> {
    let files = [&tls.ca_file, &tls.cert_file, &tls.key_file];
    let stamp = |file: &PathBuf| {
        let file = fs::metadata(file).ok()?;
        Some((file.modified().ok()?, identity_of(&file)))
    };
    files.into_iter().flatten().map(stamp).collect()
}

/// Two files of one age may still be two.
#[cfg(unix)]
fn identity_of(file: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(file)
}

#[cfg(not(unix))]
fn identity_of(file: &fs::Metadata) -> u64 {
    file.len()
}

/// The HTTP client that a lock client with these options talks with, for questions that it does not ask.
///
/// # Errors
/// [`Error::InvalidOption`]
pub fn http_client(options: &ClientOptions) -> Result<Client, Error> {
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(options.connect_timeout);
    let tls = &options.tls;
    if let Some(file) = &tls.ca_file {
        builder = builder.tls_certs_only(authorities(file)?);
    } else if options
        .base_urls
        .iter()
        .all(|url| url.starts_with("http://"))
    {
        // Else the system's certificates are looked for, and a machine without any is refused.
        builder = builder.tls_certs_only([]);
    }
    if let Some(identity) = identity(tls)? {
        builder = builder.identity(identity);
    }
    builder
        .build()
        .map_err(|error| invalid("tls", error.to_string()))
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, Error> {
    const OPTION: &str = "tls.ca_file";
    let bundle = Certificate::from_pem_bundle(&read(OPTION, file)?);
    let bundle = bundle.map_err(|error| unreadable(OPTION, file, error))?;
    match bundle.is_empty() {
        false => Ok(bundle),
        true => Err(unreadable(OPTION, file, "there is no certificate in it")),
    }
}

fn identity(tls: &TlsOptions) -> Result<Option<Identity>, Error> {
    match (&tls.cert_file, &tls.key_file) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => {
            let mut pem = read("tls.cert_file", cert)?;
            pem.push(b'\n');
            pem.extend(read("tls.key_file", key)?);
            let identity = Identity::from_pem(&pem);
            identity
                .map(Some)
                .map_err(|error| unreadable("tls.cert_file", cert, error))
        }
        (None, Some(_)) => Err(invalid("tls.cert_file", "goes with `tls.key_file`")),
        (Some(_), None) => Err(invalid("tls.key_file", "goes with `tls.cert_file`")),
    }
}

/// A bearer token in a file that may be replaced at any time.
#[derive(Debug)]
pub(crate) struct BearerToken(PathBuf);

impl BearerToken {
    const OPTION: &str = "bearer_token_file";

    /// The token of `options`, if there is to be one; a file that cannot be read is told at once.
    pub(crate) fn of(options: &ClientOptions) -> Result<Option<Self>, Error> {
        let Some(file) = options.bearer_token_file.clone() else {
            return Ok(None);
        };
        let token = Self(file);
        token.header()?;
        Ok(Some(token))
    }

    /// The header as of now.
    pub(crate) fn header(&self) -> Result<HeaderValue, Error> {
        let text = read(Self::OPTION, &self.0)?;
        let token = text.trim_ascii();
        if token.is_empty() {
            return Err(unreadable(Self::OPTION, &self.0, "it is empty"));
        }
        let header = HeaderValue::from_bytes(&[b"Bearer ".as_slice(), token].concat());
        // What is wrong with it is not told: it is a secret.
        let mut header =
            header.map_err(|_| unreadable(Self::OPTION, &self.0, "it is no bearer token"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

fn read(option: &'static str, file: &Path) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|error| unreadable(option, file, error))
}

fn unreadable(option: &'static str, file: &Path, why: impl ToString) -> Error {
    invalid(option, format!("`{}`: {}", file.display(), why.to_string()))
}

fn invalid(option: &'static str, reason: impl Into<String>) -> Error {
    Error::InvalidOption {
        option,
        reason: reason.into(),
    }
}
