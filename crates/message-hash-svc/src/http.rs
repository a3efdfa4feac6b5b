//! The whole API: the two calls of the message challenge, and what was added to them.

mod accept;
mod admin;
mod answer;
mod batch;
mod messages;
mod openapi;
mod refusal;
mod upload;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Data, ServiceConfig};
use secrecy::SecretString;
use service_kit::problem::ProblemKind;
use service_kit::server::{self, Parts};
use service_kit::settings::SettingsError;

pub use self::openapi::document;
use crate::message::Expiry;
use crate::messages::{Lookup, Messages};
use crate::settings::Settings;
use crate::store::Backup;

/// The kinds of problems beside the common ones.
pub static PROBLEMS: &[&ProblemKind] = refusal::OWN;

/// What the API is told, beside the messages.
#[derive(Clone)]
pub struct Rules {
    /// How long a body may take to arrive.
    read_timeout: Duration,
    /// Bytes of a batch, and of the messages in its answer.
    batch_limit: usize,
    /// Whether a new message is answered with 201.
    answer_created: bool,
    /// The longest expiry that callers may ask for; none when they may not.
    max_ttl: Option<Duration>,
    /// How long a message is kept whose caller asks for no expiry.
    default_ttl: Option<Duration>,
    /// Whether a message that is gone is told from one that never was.
    answer_gone: bool,
    /// The administrator's key; without one nobody may delete.
    admin_key: Option<SecretString>,
}

impl Rules {
    /// The rules that the settings tell.
    ///
    /// # Errors
    ///
    /// One setting is beyond another.
    pub fn of(settings: &Settings) -> Result<Self, SettingsError> {
        if settings.default_ttl.0 > settings.max_ttl.0 {
            return Err(SettingsError(format!(
                "setting default_ttl (MESSAGE_HASH_DEFAULT_TTL) is `{:?}`: expected at most MESSAGE_HASH_MAX_TTL, which is `{:?}`",
                settings.default_ttl.0, settings.max_ttl.0
            )));
        }
        let some = |ttl: Duration| Some(ttl).filter(|ttl| !ttl.is_zero());
        Ok(Self {
            read_timeout: settings.server.read_timeout.0,
            batch_limit: settings.batch_limit,
            answer_created: settings.answer_created.0,
            max_ttl: some(settings.max_ttl.0),
            default_ttl: some(settings.default_ttl.0),
            answer_gone: settings.answer_gone.0,
            admin_key: settings.admin_key.clone(),
        })
    }

    /// The expiry of a message whose caller asks for none.
    fn default_expiry(&self) -> Expiry {
        self.default_ttl.map_or(Expiry::Never, Expiry::after)
    }

    /// What is told of a look-up.
    fn told(&self, lookup: Lookup) -> Lookup {
        match lookup {
            Lookup::Deleted | Lookup::Expired if !self.answer_gone => Lookup::Absent,
            lookup => lookup,
        }
    }

    /// Whether a message that is given back may still go away.
    fn is_immutable(&self) -> bool {
        self.max_ttl.is_none() && self.admin_key.is_none()
    }
}

/// What the API stands on.
#[derive(Clone)]
pub struct Api {
    /// The messages.
    pub messages: Arc<Messages>,
    /// How their store is backed up, where this service does that.
    pub backup: Option<Arc<dyn Backup>>,
    /// What the API is told.
    pub rules: Rules,
}

/// Serves `api` until `shutdown` resolves, then drains open requests.
///
/// # Errors
///
/// The server could not start, or failed.
pub async fn serve(
    parts: Parts,
    api: Api,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let rules = Data::new(api.rules);
    let messages = Data::from(api.messages);
    let backup = Data::new(api.backup);
    let routes = move |config: &mut ServiceConfig| {
        config
            .app_data(messages.clone())
            .app_data(rules.clone())
            .app_data(backup.clone())
            .configure(routes);
    };
    server::serve(parts, routes, shutdown).await
}

fn routes(config: &mut ServiceConfig) {
    config
        .configure(admin::routes)
        .configure(batch::routes)
        .configure(messages::routes);
}
