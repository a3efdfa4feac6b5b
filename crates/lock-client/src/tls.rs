//! The HTTP client, and the credentials that it shows.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::header::HeaderValue;
use reqwest::{Certificate, Client, Identity};

use crate::error::Error;
use crate::options::{ClientOptions, TlsOptions};

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
