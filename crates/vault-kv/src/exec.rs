//! One call. `vaultrs` makes the request and knows the answer's form; sending it is ours, since `vaultrs`
//! drops the headers of answers, and with them how long Vault asks us to wait.

use std::sync::OnceLock;
use std::time::Duration;

use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use rustify::errors::ClientError as RestError;
use rustify::{Endpoint, client::Client};
use vaultrs::api::EndpointResult;
use vaultrs::client::VaultClient;
use vaultrs::error::ClientError;

use crate::error::{Failure, VaultError};

/// Sends `request` with the token of `client`.
pub(crate) async fn exec<E: Endpoint>(
    client: &VaultClient,
    request: E,
) -> Result<E::Response, Failure> {
    let http = Listening {
        http: &client.http,
        retry_after: OnceLock::new(),
    };
    let answer = request.with_middleware(&client.middle).exec(&http).await;
    let answer = answer.and_then(|answer| answer.wrap::<EndpointResult<E::Response>>());
    let failure = match answer {
        Ok(answer) => match answer.data {
            Some(data) => return Ok(data),
            None => Failure::of(ClientError::ResponseDataEmptyError),
        },
        Err(source) => Failure::of(ClientError::RestClientError { source }),
    };
    match (failure, http.retry_after.get()) {
        (Failure::Error(VaultError::RateLimited { .. }), Some(&retry_after)) => {
            Err(Failure::Error(VaultError::RateLimited { retry_after }))
        }
        (failure, _) => Err(failure),
    }
}

/// The client of `vaultrs`, with an ear for `Retry-After`.
struct Listening<'a> {
    http: &'a rustify::clients::reqwest::Client,
    retry_after: OnceLock<Duration>,
}

#[async_trait::async_trait]
impl Client for Listening<'_> {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, RestError> {
        let response = self.http.send(request).await?;
        if let (StatusCode::TOO_MANY_REQUESTS, Some(time)) =
            (response.status(), retry_after(&response))
        {
            self.retry_after.get_or_init(|| time);
        }
        Ok(response)
    }

    fn base(&self) -> &str {
        self.http.base()
    }
}

/// Vault tells whole seconds.
fn retry_after(response: &Response<Vec<u8>>) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(text.trim().parse().ok()?))
}
