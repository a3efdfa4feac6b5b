//! Who we are to S3: keys of the settings, or those that AWS's own tools would find.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use reqsign_aws_v4::{
    Credential, DefaultCredentialProvider, RequestSigner, StaticCredentialProvider,
};
use reqsign_core::{Context, Error, FileRead, HttpSend, OsEnv, Signer};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};

use super::{S3Error, S3Options};

/// A pair of keys.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Its name.
    pub access_key: String,
    /// The secret.
    pub secret_key: SecretString,
}

/// Signs with the keys of `options`, or with the first that are found: in `AWS_ACCESS_KEY_ID` and
/// `AWS_SECRET_ACCESS_KEY`, in the profile of AWS's files, or for the web identity whose token is in
/// `AWS_WEB_IDENTITY_TOKEN_FILE`, which is read anew whenever its keys end.
pub(super) fn signer(
    options: &S3Options,
    http: Client,
    signer: RequestSigner,
) -> Result<Signer<Credential>, S3Error> {
    let sts = options.sts_endpoint.as_deref().map(Url::parse).transpose();
    let context = Context::new()
        .with_env(OsEnv)
        .with_file_read(Files)
        .with_http_send(Sts {
            http,
            instead: sts.map_err(|err| S3Error::Option("sts_endpoint", err.to_string()))?,
        });
    Ok(match &options.keys {
        Some(keys) => {
            let secret = keys.secret_key.expose_secret();
            let keys = StaticCredentialProvider::new(&keys.access_key, secret);
            Signer::new(context, keys, signer)
        }
        None => {
            let found = DefaultCredentialProvider::builder();
            let found = found.no_sso().no_process().no_ecs().no_imds().build();
            Signer::new(context, found, signer)
        }
    })
}

#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        let path = path.to_owned();
        let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        let failed = |err: std::io::Error| Error::unexpected(err.to_string());
        read.map_err(|err| Error::unexpected(err.to_string()))?
            .map_err(failed)
    }
}

/// The calls for keys, at another address than AWS's where one is set.
#[derive(Debug)]
struct Sts {
    http: Client,
    instead: Option<Url>,
}

impl HttpSend for Sts {
    async fn http_send(&self, request: Request<Bytes>) -> reqsign_core::Result<Response<Bytes>> {
        // Neither the request nor the answer is told: both may hold secrets.
        let failed =
            |_: reqwest::Error| Error::unexpected("the service that gives keys did not answer");
        let mut request = reqwest::Request::try_from(request).map_err(failed)?;
        if let Some(instead) = &self.instead {
            let mut url = instead.clone();
            url.set_query(request.url().query());
            request.headers_mut().remove(http::header::HOST);
            *request.url_mut() = url;
        }
        *request.timeout_mut() = Some(Duration::from_secs(2));
        let answer = self.http.execute(request).await.map_err(failed)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(failed)?;
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        Ok(answer)
    }
}
