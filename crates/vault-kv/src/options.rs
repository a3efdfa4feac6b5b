//! Where Vault is and who we are, checked before the first call: `vaultrs` panics on some of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Client, Url};
use secrecy::{ExposeSecret, SecretString};

use crate::path;

/// Where Vault is, who we are, and how long we wait.
#[derive(Debug, Clone)]
pub struct VaultOptions {
    /// `http://` or `https://`, host and port, without a path.
    pub address: String,
    /// Mount of the KV v2 engine. Default `secret`.
    pub mount: String,
    /// Who we are.
    pub auth: Auth,
    /// Namespace (Vault Enterprise, OpenBao).
    pub namespace: Option<String>,
    /// PEM file with the only certificate authorities to be trusted; without one the system's are.
    pub ca_file: Option<PathBuf>,
    /// Longest time that one operation takes, a login that it needs included. Default 2 s.
    pub operation_timeout: Duration,
    /// Longest time for a connection to open. Default 500 ms.
    pub connect_timeout: Duration,
}

/// Who we are to Vault.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A token from somewhere else; it is renewed if it can be, but there is no new one after it.
    Token(SecretString),
    /// [AppRole](https://developer.hashicorp.com/vault/docs/auth/approle): tokens of our own.
    AppRole {
        /// The role.
        role_id: String,
        /// Its secret.
        secret_id: SecretString,
        /// Where the method is mounted, as a rule `approle`.
        mount: String,
    },
    /// [Kubernetes](https://developer.hashicorp.com/vault/docs/auth/kubernetes): tokens of our own, for
    /// the token of the pod's service account.
    Kubernetes {
        /// The role.
        role: String,
        /// File with the service account's token. Kubernetes writes it anew before that ends, so it is
        /// read at each login.
        jwt_file: PathBuf,
        /// Where the method is mounted, as a rule `kubernetes`.
        mount: String,
    },
}

/// The token of a service account, as it stands in its file now.
pub(crate) fn read_jwt(file: &Path) -> Result<SecretString, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", file.display())),
        jwt => Ok(SecretString::from(jwt)),
    }
}

/// An option that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("Vault option {option}: {reason}")]
pub struct InvalidOption {
    /// Name of the field of [`VaultOptions`].
    pub option: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl VaultOptions {
    /// Options with the defaults for everything but where and who.
    pub fn new(address: impl Into<String>, auth: Auth) -> Self {
        Self {
            address: address.into(),
            mount: "secret".to_owned(),
            auth,
            namespace: None,
            ca_file: None,
            operation_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_millis(500),
        }
    }

    /// Checks everything and gives the address as a URL.
    pub(crate) fn check(&self) -> Result<Url, InvalidOption> {
        check_path("mount", &self.mount)?;
        if let Some(namespace) = &self.namespace {
            check_header("namespace", namespace)?;
        }
        match &self.auth {
            Auth::Token(token) => check_header("token", token.expose_secret())?,
            Auth::AppRole { mount, .. } => check_path("AppRole mount", mount)?,
            Auth::Kubernetes {
                role,
                jwt_file,
                mount,
            } => {
                check_path("Kubernetes mount", mount)?;
                check_header("Kubernetes role", role)?;
                read_jwt(jwt_file).map_err(|reason| InvalidOption {
                    option: "jwt_file",
                    reason,
                })?;
            }
        }
        self.url()
    }

    /// `vaultrs` puts `/v1` before the whole path, so an address with a path of its own would break.
    fn url(&self) -> Result<Url, InvalidOption> {
        let invalid = |reason: String| InvalidOption {
            option: "address",
            reason,
        };
        let url = Url::parse(&self.address)
            .map_err(|error| invalid(format!("`{}`: {error}", self.address)))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid(format!(
                "`{}` is neither http:// nor https://",
                self.address
            )));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(invalid(format!(
                "`{}` must end after host and port",
                self.address
            )));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(
                "a user name or password has no place in it".to_owned(),
            ));
        }
        Ok(url)
    }

    /// The HTTP client that all calls share. Built here and not by `vaultrs`, which knows no connect
    /// timeout and reads environment variables that nobody told us about. It has no timeout for a whole
    /// call either: each operation has one deadline, for all calls that it makes.
    pub(crate) fn http_client(&self, address: &Url) -> Result<Client, InvalidOption> {
        let invalid = |reason: String| InvalidOption {
            option: "ca_file",
            reason,
        };
        let mut builder = Client::builder()
            .no_proxy()
            .connect_timeout(self.connect_timeout);
        if let Some(file) = &self.ca_file {
            let pem =
                fs::read(file).map_err(|error| invalid(format!("{}: {error}", file.display())))?;
            let certificates =
                Certificate::from_pem_bundle(&pem).map_err(|error| invalid(error.to_string()))?;
            if certificates.is_empty() {
                return Err(invalid(format!("{}: no certificate in it", file.display())));
            }
            builder = builder.tls_certs_only(certificates);
        } else if address.scheme() == "http" {
            // Else the system's certificates are looked for, and a machine without any is refused.
            builder = builder.tls_certs_only([]);
        }
        builder.build().map_err(|error| invalid(error.to_string()))
    }
}

fn check_path(option: &'static str, value: &str) -> Result<(), InvalidOption> {
    path::check(value).map_err(|reason| InvalidOption {
        option,
        reason: format!("`{value}`: {reason}"),
    })
}

/// The value is never repeated: it may be a secret.
fn check_header(option: &'static str, value: &str) -> Result<(), InvalidOption> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = "must be visible ASCII characters, at least one".to_owned();
        return Err(InvalidOption { option, reason });
    }
    Ok(())
}
