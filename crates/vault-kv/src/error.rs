//! What can go wrong between us and Vault, sorted by what a caller does about it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rustify::errors::ClientError as RestError;
use vaultrs::api::EndpointError;
use vaultrs::error::ClientError;

/// Vault's rate-limit quotas count per second unless told otherwise; it tells the exact time only in a
/// header that is off by default.
const QUOTA_INTERVAL: Duration = Duration::from_secs(1);

type Source = Arc<dyn Error + Send + Sync>;

/// Why a call to Vault did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VaultError {
    /// Vault is up and sealed: nothing works before an operator unseals it. Nothing was written.
    #[error("Vault is sealed")]
    Sealed,
    /// Vault was not reached, or no login was to be had: the call was never made.
    #[error("Vault cannot be reached")]
    Unavailable(#[source] Option<Source>),
    /// No answer that can be relied on: time ran out, the connection broke, a 5xx or a 412. **A write
    /// may have happened**, or may still happen.
    #[error("no usable answer from Vault: {reason}")]
    Unknown {
        /// What came instead of an answer.
        reason: String,
        /// The cause, where there is one.
        #[source]
        source: Option<Source>,
    },
    /// Vault refuses us (403), also after a fresh login where one is possible.
    #[error("Vault refuses the call: {0}")]
    Forbidden(String),
    /// There is no KV v2 engine at the mount: never to be taken for an absent secret.
    #[error("no secrets engine answers at this path: {0}")]
    MissingMount(String),
    /// A quota of Vault's is used up (429).
    #[error("Vault's rate limit is reached")]
    RateLimited {
        /// When to ask again: Vault's `Retry-After`, or a second where it does not tell.
        retry_after: Duration,
    },
    /// Vault calls the request wrong (another 4xx): a fault of ours or of the settings; do not repeat.
    #[error("Vault refuses the request as wrong: {0}")]
    BadRequest(String),
    /// The path cannot name a secret; nothing was sent.
    #[error("`{path}` is no path of a secret: {reason}")]
    InvalidPath {
        /// The path as given.
        path: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// The secret, or what was to be written, has not the shape that the caller's type expects.
    #[error("the secret has an unexpected form")]
    Data(#[source] Arc<serde_json::Error>),
}

impl VaultError {
    /// Whether a write that ended in this error surely changed nothing, now or later.
    pub fn surely_not_written(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }

    /// Whether Vault itself is away (sealed, unreachable, silent, failing), in contrast to an answer
    /// that it gave in good health.
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Sealed | Self::Unavailable(_) | Self::Unknown { .. }
        )
    }

    pub(crate) fn timed_out() -> Self {
        Self::Unknown {
            reason: "time ran out".to_owned(),
            source: None,
        }
    }

    fn unknown(reason: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Unknown {
            reason: reason.into(),
            source: Some(Arc::new(source)),
        }
    }
}

/// An answer other than success, with the ordinary ones still apart from the errors.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 404 with an empty list of errors: nothing was ever written there.
    Absent,
    /// 404 with a whole answer in it: deleted or destroyed, the version number is kept.
    Deleted {
        version: u64,
    },
    /// The compare-and-set lost.
    Mismatch,
    Error(VaultError),
}

impl Failure {
    /// The error, for a call to which the ordinary outcomes mean nothing.
    pub(crate) fn into_error(self) -> VaultError {
        match self {
            Self::Absent => VaultError::MissingMount("404 without an explanation".to_owned()),
            Self::Deleted { version } => {
                VaultError::BadRequest(format!("deleted in version {version}"))
            }
            Self::Mismatch => VaultError::BadRequest("the compare-and-set lost".to_owned()),
            Self::Error(error) => error,
        }
    }

    /// Sorts what `vaultrs` gives back; it leaves three forms of 404 and several of everything else.
    pub(crate) fn of(error: ClientError) -> Self {
        match error {
            ClientError::APIError { code, errors } => Self::of_errors(code, &errors),
            ClientError::RestClientError {
                source: RestError::ServerResponseError { code, content },
            } => Self::of_content(code, content.as_deref().unwrap_or_default()),
            ClientError::RestClientError {
                source: RestError::RequestError { source, .. },
            } => {
                let connecting = source
                    .downcast_ref::<reqwest::Error>()
                    .is_some_and(reqwest::Error::is_connect);
                let source: Box<dyn Error + Send + Sync> = source.into();
                let source = Some(Source::from(source));
                Self::Error(match connecting {
                    true => VaultError::Unavailable(source),
                    false => VaultError::Unknown {
                        reason: "the connection broke".to_owned(),
                        source,
                    },
                })
            }
            ClientError::JsonParseError { source } => {
                Self::Error(VaultError::Data(Arc::new(source)))
            }
            other => Self::Error(VaultError::unknown("an answer that is not Vault's", other)),
        }
    }

    fn of_errors(code: u16, errors: &[String]) -> Self {
        let text = errors.join("; ");
        match code {
            404 if errors.is_empty() => Self::Absent,
            404 => Self::Error(VaultError::MissingMount(text)),
            // The only place where Vault's wording decides: it has no other sign for this.
            400 if text.contains("check-and-set parameter did not match") => Self::Mismatch,
            503 if text.contains("Vault is sealed") => Self::Error(VaultError::Sealed),
            _ => Self::Error(of_status(code, text)),
        }
    }

    /// A list of errors, a deleted secret, or something that is not Vault.
    fn of_content(code: u16, content: &str) -> Self {
        if let Ok(EndpointError { errors }) = serde_json::from_str(content) {
            return Self::of_errors(code, &errors);
        }
        let answer: serde_json::Value = serde_json::from_str(content).unwrap_or_default();
        match answer["data"]["metadata"]["version"].as_u64() {
            Some(version) if code == 404 => Self::Deleted { version },
            _ => Self::Error(of_status(
                code,
                format!("status {code} and no word of Vault's"),
            )),
        }
    }
}

/// What a status means of its own. A 408 or a 412 says that the request was not finished here, not
/// that it has not happened.
fn of_status(code: u16, text: String) -> VaultError {
    match code {
        403 => VaultError::Forbidden(text),
        429 => VaultError::RateLimited {
            retry_after: QUOTA_INTERVAL,
        },
        400..=499 if code != 408 && code != 412 => VaultError::BadRequest(text),
        _ => VaultError::Unknown {
            reason: format!("status {code}: {text}"),
            source: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_vault(code: u16, errors: &[&str]) -> VaultError {
        let errors = errors.iter().map(|text| (*text).to_owned()).collect();
        Failure::of(ClientError::APIError { code, errors }).into_error()
    }

    fn of_anything(code: u16, content: &str) -> VaultError {
        let content = Some(content.to_owned());
        let source = RestError::ServerResponseError { code, content };
        Failure::of(ClientError::RestClientError { source }).into_error()
    }

    #[test]
    fn only_an_answer_that_refuses_proves_that_nothing_was_written() {
        for error in [
            of_vault(400, &["error parsing check-and-set parameter"]),
            of_vault(403, &["permission denied"]),
            of_vault(404, &["no handler for route \"x\""]),
            of_vault(429, &["rate limit quota exceeded"]),
            of_vault(503, &["Vault is sealed"]),
            of_anything(413, "<html>too large</html>"),
        ] {
            assert!(error.surely_not_written(), "{error:?}");
        }
        for error in [
            of_vault(500, &["internal error"]),
            of_vault(412, &["required index state not present"]),
            of_vault(
                503,
                &["local node not active but active cluster node not found"],
            ),
            of_anything(502, "<html>bad gateway</html>"),
            of_anything(503, "<html>Vault is sealed, says a proxy</html>"),
            of_anything(504, ""),
            of_anything(408, ""),
            VaultError::timed_out(),
            Failure::of(ClientError::ResponseEmptyError).into_error(),
        ] {
            assert!(matches!(error, VaultError::Unknown { .. }), "{error:?}");
            assert!(!error.surely_not_written(), "{error:?}");
        }
    }

    #[test]
    fn a_404_of_a_proxy_is_no_absence() {
        let error = of_anything(404, "<html>not found</html>");
        assert!(matches!(error, VaultError::BadRequest(_)), "{error:?}");
    }

    #[test]
    fn the_public_sentence_does_not_repeat_its_cause() {
        let cause = serde_json::from_str::<u8>("x").expect_err("x is no number");
        let text = cause.to_string();
        let error = VaultError::Data(Arc::new(cause));
        assert_eq!(error.source().map(ToString::to_string), Some(text.clone()));
        assert!(!error.to_string().contains(&text));
    }
}
