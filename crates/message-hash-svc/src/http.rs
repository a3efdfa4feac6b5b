//! The whole API: two calls, in the form of the message challenge.

mod messages;
mod refusal;

use std::future::Future;
use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig};
use service_kit::server::{self, Parts};

use crate::messages::Messages;

/// Serves `messages` until `shutdown` resolves, then drains open requests.
///
/// # Errors
///
/// The server could not start, or failed.
pub async fn serve(
    parts: Parts,
    messages: Arc<Messages>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let patience = Data::new(messages::Patience(parts.settings.read_timeout.0));
    let messages = Data::from(messages);
    let routes = move |config: &mut ServiceConfig| {
        config
            .app_data(messages.clone())
            .app_data(patience.clone())
            .configure(messages::routes);
    };
    server::serve(parts, routes, shutdown).await
}
