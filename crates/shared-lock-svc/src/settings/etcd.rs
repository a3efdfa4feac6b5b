//! How to reach etcd.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;
use service_kit::{
    duration::LongDuration,
    settings,
    settings::{Flag, SettingsError},
};
use tonic::transport::Uri;

use crate::store::etcd::{EtcdOptions, EtcdTls};

settings! {
    /// The store `etcd`.
    pub struct EtcdSettings {
        /// Members of the cluster.
        pub addr_list: Endpoints => Setting::env("ETCD_ADDR_LIST").default("http://localhost:2379")
            .allowed("URLs with `,` between them and no blanks, such as `http://a:2379,http://b:2379`"),
        /// Whether to speak TLS with our own certificates; `https` alone is checked against the system's roots.
        pub tls: Flag => Setting::env("ETCD_TLS").default("false").allowed("`true` or `false`"),
        /// Authority that etcd's certificate comes from, with TLS.
        pub ca_cert_path: Option<PathBuf> => Setting::env("CA_CERT_PATH").default("/etc/etcd/ca.crt").allowed("a PEM file").empty_is_none(),
        /// Our certificate, with TLS; empty, with an empty key: none.
        pub client_cert_path: Option<PathBuf> => Setting::env("CLIENT_CERT_PATH").default("/etc/etcd/client.crt").allowed("a PEM file").empty_is_none(),
        /// Its key.
        pub client_key_path: Option<PathBuf> => Setting::env("CLIENT_KEY_PATH").default("/etc/etcd/client.key").allowed("a PEM file").empty_is_none(),
        /// User of etcd, where it asks for one.
        pub user: Option<String> => Setting::env("ETCD_USER").allowed("a name"),
        /// Its password.
        pub password: Option<SecretString> => Setting::env("ETCD_PASSWORD").allowed("a password").secret(),
        /// How long one call to etcd may take.
        pub timeout: LongDuration<100> => Setting::env("ETCD_TIMEOUT").default("2s").allowed("a duration from `100ms`"),
    }
}

/// URLs of etcd's members.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoints(pub Vec<String>);

impl TryFrom<String> for Endpoints {
    type Error = &'static str;

    fn try_from(list: String) -> Result<Self, Self::Error> {
        let endpoints: Vec<_> = list.split(',').map(str::to_owned).collect();
        match endpoints.iter().all(|endpoint| is_endpoint(endpoint)) {
            true => Ok(Self(endpoints)),
            false => Err("expected URLs with `,` between them"),
        }
    }
}

/// A URL, or a host with its port.
fn is_endpoint(text: &str) -> bool {
    let illegal = |c: char| c == ';' || c == '|' || c.is_whitespace();
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let whole = match uri.scheme_str() {
        Some(scheme) => matches!(scheme, "http" | "https"),
        None => uri.port_u16().is_some(),
    };
    whole && uri.host().is_some_and(|host| !host.is_empty()) && !text.contains(illegal)
}

impl EtcdSettings {
    /// Checks what goes together.
    ///
    /// # Errors
    /// One of two that belong together is missing.
    pub fn check(&self) -> Result<(), SettingsError> {
        let incomplete = |what: &str| Err(SettingsError(what.to_owned()));
        if self.user.is_some() != self.password.is_some() {
            return incomplete(
                "SHARED_LOCK_ETCD_USER and SHARED_LOCK_ETCD_PASSWORD are set together or not at all",
            );
        }
        if self.tls.0 && self.client_cert_path.is_some() != self.client_key_path.is_some() {
            return incomplete(
                "SHARED_LOCK_CLIENT_CERT_PATH and SHARED_LOCK_CLIENT_KEY_PATH are set together or both empty",
            );
        }
        if self.tls.0 && self.ca_cert_path.is_none() {
            return incomplete(
                "SHARED_LOCK_CA_CERT_PATH is empty: SHARED_LOCK_ETCD_TLS needs the authority of etcd's certificate",
            );
        }
        let plain = |endpoint: &&String| endpoint.starts_with("http://");
        match self.addr_list.0.iter().find(plain) {
            Some(plain) if self.tls.0 => Err(SettingsError(format!(
                "setting etcd.addr_list (SHARED_LOCK_ETCD_ADDR_LIST) names `{plain}`: expected https URLs with SHARED_LOCK_ETCD_TLS=true"
            ))),
            _ => Ok(()),
        }
    }

    /// What the store wants to know.
    pub fn options(&self, token_epoch: Option<String>) -> EtcdOptions {
        let identity = self
            .client_cert_path
            .clone()
            .zip(self.client_key_path.clone());
        EtcdOptions {
            tls: self.tls.0.then(|| EtcdTls {
                ca: self.ca_cert_path.clone(),
                identity,
            }),
            credentials: self.user.clone().zip(self.password.clone()),
            operation_timeout: self.timeout.0,
            token_epoch,
            ..EtcdOptions::new(self.addr_list.0.clone())
        }
    }
}
