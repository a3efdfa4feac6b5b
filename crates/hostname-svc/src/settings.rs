//! What the service can be told.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use service_kit::{
    cli::ServiceSettings,
    duration::{GoDuration, LongDuration},
    server::ServerSettings,
    settings,
    settings::{Number, SettingsError},
    telemetry::TelemetrySettings,
};
use vault_kv::{Auth, InvalidOption, VaultOptions};

use crate::{
    allocator::{Limits, WithoutLocks},
    locks::PrefixLocks,
    policy::{Policies, PolicyFile},
};

/// The least time in which anything can be done, in milliseconds.
const LEAST_TIME: u64 = 100;
/// The least life of a lease that etcd gives, in milliseconds.
const LEAST_TTL: u64 = 2000;

settings! {
    /// Settings of hostname-svc.
    pub struct Settings {
        sections {
            /// The HTTP server.
            pub server: ServerSettings,
            /// Logs and traces.
            pub telemetry: TelemetrySettings,
            /// The lock service.
            pub lock: LockSettings,
            /// The store `vault`.
            pub vault: VaultSettings,
            /// How hostnames are given out.
            pub allocation: AllocationSettings,
        }
        /// Where the service listens.
        pub listen: SocketAddr => Setting::env("LISTEN").default("127.0.0.1:8081").allowed("an address and a port such as `127.0.0.1:8081`"),
        /// Where the hostnames are.
        pub store: StoreType => Setting::env("STORE").default("vault").allowed("`vault` or `embedded`"),
        /// File of policies: what hostnames look like and how many a prefix may have. It is read again when it changes.
        pub policy_file: Option<PathBuf> => Setting::env("POLICY_FILE").allowed("a file as docs/operations.md describes it"),
        /// Directory of the store `embedded`; one process at a time has it.
        pub data_dir: PathBuf => Setting::env("DATA_DIR").default(".holdfast/hostname").allowed("a directory that is there or can be made"),
    }
}

settings! {
    /// The lock service.
    pub struct LockSettings {
        /// Base URLs of shared-lock-svc, all on one store.
        pub url: String => Setting::env("LOCK_URL").default("http://127.0.0.1:8080").allowed("http or https URLs, separated by commas"),
        /// What the keys of the locks begin with; replicas that share counters share it.
        pub key_prefix: String => Setting::env("LOCK_KEY_PREFIX").default("hostname").allowed("a text of 1 to 256 characters"),
        /// What to do while the lock service is away: `refuse` new hostnames, or `go-on` by check-and-set alone, which is as safe and slower where replicas meet.
        pub outage: WithoutLocks => Setting::env("LOCK_OUTAGE").default("refuse").allowed("`refuse` or `go-on`"),
        /// Life of a lock whose holder is gone. For so long nobody else is served; that it may be lost by a short pause costs no more than a lost write.
        pub ttl: LongDuration<LEAST_TTL> => Setting::env("LOCK_TTL").default("3s").allowed("a duration from `2s`"),
    }
}

settings! {
    /// The store `vault`.
    pub struct VaultSettings {
        /// Address of Vault.
        pub addr: String => Setting::env("VAULT_ADDR").default("http://127.0.0.1:8200").allowed("an http or https URL that ends after the port"),
        /// Mount of the KV v2 engine.
        pub mount: String => Setting::env("VAULT_MOUNT").default("secret").allowed("the path of a mount"),
        /// Path below which everything is kept.
        pub base_path: String => Setting::env("VAULT_BASE_PATH").default("hostnames").allowed("a path without `.` or `..`"),
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
    }
}

settings! {
    /// How hostnames are given out.
    pub struct AllocationSettings {
        /// Time that a call may take.
        pub budget: LongDuration<LEAST_TIME> => Setting::env("BUDGET").default("5s").allowed("a duration from `100ms`"),
        /// How long the store may be silent before calls are answered with 503.
        pub store_timeout: LongDuration<LEAST_TIME> => Setting::env("STORE_TIMEOUT").default("2s").allowed("a duration from `100ms`"),
        /// How long the lock of a prefix is kept while requests wait, so that other replicas have their turn.
        pub max_hold: GoDuration => Setting::env("MAX_HOLD").default("500ms").allowed("a duration such as `500ms`"),
        /// Numbers that one move of the counter gives out; a larger batch has a move of its own.
        pub max_batch: Number<1, 1000> => Setting::env("MAX_BATCH").default("256").allowed("a number from 1 to 1000"),
        /// Requests that may wait for one prefix; the next one is answered with 429.
        pub max_queue: Number<1, { usize::MAX }> => Setting::env("MAX_QUEUE").default("2000").allowed("a number from 1"),
        /// Requests that may wait in the whole process.
        pub max_waiting: Number<1, { usize::MAX }> => Setting::env("MAX_WAITING").default("10000").allowed("a number from 1"),
        /// Calls to the store that one prefix makes at a time.
        pub store_parallel: Number<1, 256> => Setting::env("STORE_PARALLEL").default("32").allowed("a number from 1 to 256"),
        /// How often it is looked for what replicas left unfinished that are gone.
        pub sweep_interval: LongDuration<1000> => Setting::env("SWEEP_INTERVAL").default("10m").allowed("a duration from `1s`"),
    }
}

/// Where the hostnames are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreType {
    /// A KV v2 engine of Vault, for any number of replicas.
    Vault,
    /// A directory of this process's own.
    Embedded,
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

impl ServiceSettings for Settings {
    const PREFIX: &'static str = "HOSTNAME_SVC";

    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }
}

impl Settings {
    /// The policies of all prefixes, and what follows their file if there is one.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn policies(&self) -> Result<(Policies, Option<PolicyFile>), SettingsError> {
        let Some(path) = &self.policy_file else {
            return Ok((Policies::default(), None));
        };
        match Policies::read(path) {
            Ok((policies, file)) => Ok((policies, Some(file))),
            Err(wrong) => Err(SettingsError(format!(
                "setting policy_file ({}_POLICY_FILE) is `{}`, which cannot be used: {wrong}",
                Self::PREFIX,
                path.display()
            ))),
        }
    }
}

impl LockSettings {
    /// The client of the lock service.
    ///
    /// # Errors
    /// A value cannot be used.
    pub fn locks(&self, holder: &str) -> Result<PrefixLocks, SettingsError> {
        let key_prefix = self.key_prefix.as_str();
        if key_prefix.is_empty()
            || key_prefix.len() > 256
            || key_prefix.chars().any(char::is_control)
        {
            return Err(refused(
                "lock.key_prefix",
                "LOCK_KEY_PREFIX",
                key_prefix,
                "a text of 1 to 256 characters",
            ));
        }
        let urls = self.urls();
        PrefixLocks::new(&urls, holder, key_prefix, self.ttl.0).map_err(|_| {
            refused(
                "lock.url",
                "LOCK_URL",
                &self.url,
                "http or https URLs, separated by commas",
            )
        })
    }

    fn urls(&self) -> Vec<String> {
        let urls = self.url.split(',').map(str::trim);
        urls.map(|url| url.trim_end_matches('/').to_owned())
            .collect()
    }
}

impl VaultSettings {
    /// The options of the client of Vault.
    ///
    /// # Errors
    /// What the method to log in needs is missing.
    pub fn options(&self, operation_timeout: Duration) -> Result<VaultOptions, SettingsError> {
        let auth = match self.auth {
            AuthMethod::Token => Auth::Token(needed(&self.token, "vault.token", "VAULT_TOKEN")?),
            AuthMethod::AppRole => Auth::AppRole {
                role_id: needed(&self.role_id, "vault.role_id", "VAULT_ROLE_ID")?,
                secret_id: needed(&self.secret_id, "vault.secret_id", "VAULT_SECRET_ID")?,
                mount: self.approle_mount.clone(),
            },
            AuthMethod::Kubernetes => Auth::Kubernetes {
                role: needed(
                    &self.kubernetes_role,
                    "vault.kubernetes_role",
                    "VAULT_KUBERNETES_ROLE",
                )?,
                jwt_file: self.kubernetes_jwt_file.clone(),
                mount: self.kubernetes_mount.clone(),
            },
        };
        if let Auth::Token(token) = &auth
            && token.expose_secret().is_empty()
        {
            return Err(missing("vault.token", "VAULT_TOKEN"));
        }
        self.check_base_path()?;
        Ok(VaultOptions {
            mount: self.mount.clone(),
            namespace: self.namespace.clone(),
            ca_file: self.ca_file.clone(),
            operation_timeout,
            ..VaultOptions::new(&self.addr, auth)
        })
    }

    /// A `.` or `..` would be dropped on the way to Vault, and everything kept elsewhere.
    fn check_base_path(&self) -> Result<(), SettingsError> {
        let legal = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let path = self.base_path.trim_matches('/');
        if path.is_empty() || path.split('/').all(legal) {
            return Ok(());
        }
        Err(refused(
            "vault.base_path",
            "VAULT_BASE_PATH",
            path,
            "a path without `.` or `..`",
        ))
    }

    /// The line about an option that the client of Vault refuses.
    pub fn refusal(&self, error: &InvalidOption) -> SettingsError {
        let env = match error.option {
            "address" => "VAULT_ADDR",
            "mount" => "VAULT_MOUNT",
            "namespace" => "VAULT_NAMESPACE",
            "ca_file" => "VAULT_CA_FILE",
            "token" => "VAULT_TOKEN",
            "Kubernetes mount" => "VAULT_KUBERNETES_MOUNT",
            "Kubernetes role" => "VAULT_KUBERNETES_ROLE",
            "jwt_file" => "VAULT_KUBERNETES_JWT_FILE",
            _ => "VAULT_APPROLE_MOUNT",
        };
        SettingsError(format!(
            "setting {}_{env}: {}",
            Settings::PREFIX,
            error.reason
        ))
    }
}

impl AllocationSettings {
    /// The limits of the allocation.
    pub fn limits(&self, without_locks: WithoutLocks, policies: Policies) -> Limits {
        Limits {
            max_hold: self.max_hold.0,
            budget: self.budget.0,
            max_batch: self.max_batch.0,
            max_queue: self.max_queue.0,
            max_waiting: self.max_waiting.0,
            parallel: self.store_parallel.0,
            store_silence: self.store_timeout.0,
            without_locks,
            idle: Duration::from_secs(1),
            policies,
        }
    }
}

fn needed<T: Clone>(value: &Option<T>, path: &str, env: &str) -> Result<T, SettingsError> {
    value.clone().ok_or_else(|| missing(path, env))
}

fn missing(path: &str, env: &str) -> SettingsError {
    SettingsError(format!(
        "setting {path} ({}_{env}) is missing: the way to log in to Vault needs it",
        Settings::PREFIX
    ))
}

fn refused(path: &str, env: &str, value: &str, allowed: &str) -> SettingsError {
    SettingsError(format!(
        "setting {path} ({}_{env}) is `{value}`: expected {allowed}",
        Settings::PREFIX
    ))
}
