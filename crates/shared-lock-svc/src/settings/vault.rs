//! How to reach Vault.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use service_kit::{duration::LongDuration, settings, settings::SettingsError};
use vault_kv::{Auth, InvalidOption, VaultOptions};

settings! {
    /// The store `vault`.
    pub struct VaultSettings {
        /// Address of Vault.
        pub addr: String => Setting::env("VAULT_ADDR").default("http://127.0.0.1:8200").allowed("an http or https URL that ends after the port"),
        /// Mount of the KV v2 engine.
        pub mount: String => Setting::env("VAULT_MOUNT").default("secret").allowed("the path of a mount"),
        /// Folder that the locks are in.
        pub folder: String => Setting::env("VAULT_FOLDER").default("locks").allowed("a path without `.`, `..` or empty segments"),
        /// How the service logs in.
        pub auth: AuthMethod => Setting::env("VAULT_AUTH").default("token").allowed("`token`, `approle` or `kubernetes`"),
        /// Token, for `token`.
        pub token: Option<SecretString> => Setting::env("VAULT_TOKEN").allowed("a token of Vault").secret(),
        /// Role, for `approle`.
        pub role_id: Option<String> => Setting::env("VAULT_ROLE_ID").allowed("the id of an AppRole"),
        /// Secret of the role, for `approle`.
        pub secret_id: Option<SecretString> => Setting::env("VAULT_SECRET_ID").allowed("a secret id of the AppRole").secret(),
        /// Mount of the method `approle`.
        pub approle_mount: String => Setting::env("VAULT_APPROLE_MOUNT").default("approle").allowed("the path of an auth method"),
        /// Role, for `kubernetes`.
        pub kubernetes_role: Option<String> => Setting::env("VAULT_KUBERNETES_ROLE").allowed("a role of the method"),
        /// File with the service account's token, for `kubernetes`; read at each login.
        pub kubernetes_jwt_file: PathBuf => Setting::env("VAULT_KUBERNETES_JWT_FILE").default("/var/run/secrets/kubernetes.io/serviceaccount/token").allowed("a file"),
        /// Mount of the method `kubernetes`.
        pub kubernetes_mount: String => Setting::env("VAULT_KUBERNETES_MOUNT").default("kubernetes").allowed("the path of an auth method"),
        /// Namespace, for Vault Enterprise and OpenBao.
        pub namespace: Option<String> => Setting::env("VAULT_NAMESPACE").allowed("the path of a namespace"),
        /// File of the certificate authorities to be trusted, instead of the system's.
        pub ca_file: Option<PathBuf> => Setting::env("VAULT_CA_FILE").allowed("a PEM file"),
        /// How long one call to Vault may take.
        pub timeout: LongDuration<100> => Setting::env("VAULT_TIMEOUT").default("2s").allowed("a duration from `100ms`"),
    }
}

/// How the service logs in to Vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMethod {
    /// By a token from somewhere else.
    Token,
    /// By a role and its secret.
    AppRole,
    /// By the token of a Kubernetes service account.
    Kubernetes,
}

impl VaultSettings {
    /// The options of the client of Vault.
    ///
    /// # Errors
    /// What the method to log in needs is missing, or the folder is none.
    pub fn options(&self) -> Result<VaultOptions, SettingsError> {
        let is_segment = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !self.folder.split('/').all(is_segment) {
            let folder = &self.folder;
            return Err(SettingsError(format!(
                "setting vault.folder (SHARED_LOCK_VAULT_FOLDER) is `{folder}`: expected a path without `.`, `..` or empty segments"
            )));
        }
        let auth = match self.auth {
            AuthMethod::Token => Auth::Token(needed(&self.token, "token")?),
            AuthMethod::AppRole => Auth::AppRole {
                role_id: needed(&self.role_id, "role_id")?,
                secret_id: needed(&self.secret_id, "secret_id")?,
                mount: self.approle_mount.clone(),
            },
            AuthMethod::Kubernetes => Auth::Kubernetes {
                role: needed(&self.kubernetes_role, "kubernetes_role")?,
                jwt_file: self.kubernetes_jwt_file.clone(),
                mount: self.kubernetes_mount.clone(),
            },
        };
        if let Auth::Token(token) = &auth
            && token.expose_secret().is_empty()
        {
            return Err(missing("token"));
        }
        Ok(VaultOptions {
            mount: self.mount.clone(),
            namespace: self.namespace.clone(),
            ca_file: self.ca_file.clone(),
            operation_timeout: self.timeout.0,
            ..VaultOptions::new(&self.addr, auth)
        })
    }

    /// The line about an option that the client of Vault refuses.
    pub fn refusal(&self, error: &InvalidOption) -> SettingsError {
        let name = match error.option {
            "address" => "ADDR",
            "mount" => "MOUNT",
            "namespace" => "NAMESPACE",
            "ca_file" => "CA_FILE",
            "token" => "TOKEN",
            "Kubernetes mount" => "KUBERNETES_MOUNT",
            "Kubernetes role" => "KUBERNETES_ROLE",
            "jwt_file" => "KUBERNETES_JWT_FILE",
            _ => "APPROLE_MOUNT",
        };
        SettingsError(format!(
            "setting SHARED_LOCK_VAULT_{name}: {}",
            error.reason
        ))
    }
}

fn needed<T: Clone>(value: &Option<T>, name: &str) -> Result<T, SettingsError> {
    value.clone().ok_or_else(|| missing(name))
}

fn missing(name: &str) -> SettingsError {
    let env = name.to_uppercase();
    SettingsError(format!(
        "setting vault.{name} (SHARED_LOCK_VAULT_{env}) is missing: this way to log in to Vault needs it"
    ))
}
