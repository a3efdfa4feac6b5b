//! Who we are to Vault: a login when the first call needs one, a renewal before the token ends.

mod renewal;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url};
use secrecy::ExposeSecret;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout_at};
use tracing::info;
use vaultrs::api::{AuthInfo, EndpointMiddleware};
use vaultrs::auth::{approle, kubernetes};
use vaultrs::client::{VaultClient, VaultClientSettings};
use vaultrs::token;

use crate::error::{Failure, VaultError};
use crate::options::{Auth, VaultOptions, read_jwt};

/// A 403 on a token this young, which Vault still knows, is the policy's word; on an older one the
/// policies may have changed since its login, so a new login is worth its price.
const YOUNG: Duration = Duration::from_secs(30);

/// A token, and a `vaultrs` client that sends it (that client cannot change its token while shared).
pub(crate) struct Session {
    client: VaultClient,
    since: Instant,
    life: Life,
}

/// How long the token lives.
#[derive(Debug, Clone, Copy)]
enum Life {
    /// A token that was given to us, whose life Vault has not told yet.
    Unasked,
    /// No end, or an end that nothing can move.
    Fixed,
    Until {
        granted: Instant,
        ttl: Duration,
        renewable: bool,
        /// What the login granted: a renewal that grants less than half of it is near the maximum.
        first_ttl: Duration,
    },
}

/// The login of all clones of one client. The old token stays in use until a new one is there.
pub(crate) struct Sessions {
    options: VaultOptions,
    address: Url,
    http: Client,
    current: watch::Sender<Option<Arc<Session>>>,
    /// Held while logging in, so that a thousand waiting calls make one login; keeps the last failure,
    /// so that those who waited for it share it.
    flight: Mutex<Option<(Instant, VaultError)>>,
}

impl Session {
    pub(crate) fn client(&self) -> &VaultClient {
        &self.client
    }

    fn token(&self) -> &str {
        &self.client.settings.token
    }

    fn ttl(&self) -> Option<Duration> {
        match self.life {
            Life::Until { granted, ttl, .. } => Some(ttl.saturating_sub(granted.elapsed())),
            Life::Unasked | Life::Fixed => None,
        }
    }
}

impl Sessions {
    pub(crate) fn start(options: VaultOptions, address: Url, http: Client) -> Arc<Self> {
        let (current, watcher) = watch::channel(None);
        let sessions = Arc::new(Self {
            options,
            address,
            http,
            current,
            flight: Mutex::new(None),
        });
        if let Auth::Token(token) = &sessions.options.auth {
            sessions.publish(sessions.session(token.expose_secret(), Life::Unasked));
        }
        tokio::spawn(renewal::keep(Arc::downgrade(&sessions), watcher));
        sessions
    }

    pub(crate) fn http(&self) -> &Client {
        &self.http
    }

    pub(crate) fn address(&self) -> &Url {
        &self.address
    }

    pub(crate) fn token_ttl(&self) -> Option<Duration> {
        self.current
            .borrow()
            .as_ref()
            .and_then(|session| session.ttl())
    }

    /// The session in use, or else a new one.
    pub(crate) async fn current(&self, deadline: Instant) -> Result<Arc<Session>, VaultError> {
        let current = self.current.borrow().clone();
        match current {
            Some(session) => Ok(session),
            None => self.log_in(None, deadline).await,
        }
    }

    /// A session that may help after Vault answered `refused` with 403, if there can be one.
    pub(crate) async fn newer_than(
        &self,
        refused: &Session,
        deadline: Instant,
    ) -> Option<Arc<Session>> {
        let current = self.current.borrow().clone()?;
        if current.token() != refused.token() {
            return Some(current);
        }
        if matches!(self.options.auth, Auth::Token(_)) {
            return None;
        }
        if refused.since.elapsed() < YOUNG
            && timeout_at(deadline, token::lookup_self(&refused.client))
                .await
                .ok()?
                .is_ok()
        {
            return None;
        }
        self.log_in(Some(refused.token()), deadline).await.ok()
    }

    /// Logs in, unless somebody has put another token in the place of `old` meanwhile.
    async fn log_in(
        &self,
        old: Option<&str>,
        deadline: Instant,
    ) -> Result<Arc<Session>, VaultError> {
        let asked = Instant::now();
        let mut last_failure = timeout_at(deadline, self.flight.lock())
            .await
            .map_err(|_| VaultError::Unavailable(None))?;
        let current = self.current.borrow().clone();
        if let Some(session) = current.filter(|session| Some(session.token()) != old) {
            return Ok(session);
        }
        if let Some((_, failure)) = last_failure.as_ref().filter(|(when, _)| *when >= asked) {
            return Err(failure.clone());
        }
        let answer = timeout_at(deadline, self.ask_for_token())
            .await
            .unwrap_or_else(|_| Err(VaultError::timed_out()));
        match answer {
            Ok(granted) => {
                info!(
                    vault.token_ttl_s = granted.lease_duration,
                    "logged in to Vault"
                );
                let ttl = Duration::from_secs(granted.lease_duration);
                let life = Life::granted(&granted, ttl);
                Ok(self.publish(self.session(&granted.client_token, life)))
            }
            Err(failure) => {
                let failure = of_login(failure);
                *last_failure = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    async fn ask_for_token(&self) -> Result<AuthInfo, VaultError> {
        let nobody = self.client("");
        let granted = match &self.options.auth {
            Auth::Token(_) => {
                let ended = "the token that was given has ended";
                return Err(VaultError::Forbidden(ended.to_owned()));
            }
            Auth::AppRole {
                role_id,
                secret_id,
                mount,
            } => approle::login(&nobody, mount, role_id, secret_id.expose_secret()).await,
            Auth::Kubernetes {
                role,
                jwt_file,
                mount,
            } => {
                let jwt = read_jwt(jwt_file).map_err(VaultError::Forbidden)?;
                kubernetes::login(&nobody, mount, role, jwt.expose_secret()).await
            }
        };
        granted.map_err(|error| Failure::of(error).into_error())
    }

    /// Notes a new life of the token, unless a login has replaced it meanwhile.
    fn carry_on(&self, session: &Session, life: Life) {
        let client = self.client(session.token());
        let renewed = Arc::new(Session {
            client,
            since: session.since,
            life,
        });
        self.current.send_if_modified(|current| {
            let same = current
                .as_ref()
                .is_some_and(|current| current.token() == renewed.token());
            if same {
                *current = Some(renewed);
            }
            same
        });
    }

    fn publish(&self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        self.current.send_replace(Some(Arc::clone(&session)));
        session
    }

    fn session(&self, token: &str, life: Life) -> Session {
        Session {
            client: self.client(token),
            since: Instant::now(),
            life,
        }
    }

    /// Built by hand: `VaultClient::new` makes connections of its own and takes unset settings from
    /// the environment.
    fn client(&self, token: &str) -> VaultClient {
        VaultClient {
            http: rustify::clients::reqwest::Client::new(self.address.as_str(), self.http.clone()),
            middle: EndpointMiddleware {
                token: token.to_owned(),
                version: "v1".to_owned(),
                wrap: None,
                namespace: self.options.namespace.clone(),
            },
            settings: VaultClientSettings {
                address: self.address.clone(),
                ca_certs: Vec::new(),
                identity: None,
                timeout: None,
                token: token.to_owned(),
                verify: true,
                version: 1,
                wrapping: false,
                namespace: self.options.namespace.clone(),
                proxy: None,
            },
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("address", &self.address.as_str())
            .finish_non_exhaustive()
    }
}

impl Life {
    fn granted(granted: &AuthInfo, first_ttl: Duration) -> Self {
        match granted.lease_duration {
            0 => Self::Fixed,
            seconds => Self::Until {
                granted: Instant::now(),
                ttl: Duration::from_secs(seconds),
                renewable: granted.renewable,
                first_ttl,
            },
        }
    }
}

/// Without a login the call was not made, whatever became of the login.
fn of_login(failure: VaultError) -> VaultError {
    match failure {
        VaultError::BadRequest(text) => VaultError::Forbidden(format!("login: {text}")),
        VaultError::Unknown { .. } => VaultError::Unavailable(Some(Arc::new(failure))),
        other => other,
    }
}
