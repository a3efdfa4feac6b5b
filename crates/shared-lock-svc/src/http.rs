//! The whole API: the native calls under `/v1`, and the tentens-tech/shared-lock wire.

mod key;
mod lease;
mod locks;
mod problem;

use std::{future::Future, sync::Arc};

use actix_web::web::{Data, ServiceConfig};
use service_kit::server::{self, Parts};

pub use self::{lease::Compat, problem::PROBLEMS};
use crate::locks::Locks;

/// Serves `locks` until `shutdown` resolves, then drains open requests.
///
/// # Errors
/// The server could not start, or failed.
pub async fn serve(
    parts: Parts,
    locks: Arc<Locks>,
    compat: Compat,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let compat = Data::new(compat);
    let locks = Data::from(locks);
    let routes = move |config: &mut ServiceConfig| {
        config
            .app_data(locks.clone())
            .app_data(compat.clone())
            .configure(locks::routes)
            .configure(lease::routes);
    };
    server::serve(parts, routes, shutdown).await
}
