//! The whole API.

mod bodies;
mod field;
mod fields;
mod hostnames;
mod openapi;
mod operations;
mod prefixes;
mod problem;
mod query;
mod wish;

use std::{future::Future, sync::Arc};

use actix_web::web::{Data, ServiceConfig};
use service_kit::server::{self, Parts};

pub use self::{openapi::document, problem::PROBLEMS};
use crate::hostnames::Hostnames;

/// Serves `hostnames` until `shutdown` resolves, then drains open requests.
///
/// # Errors
/// The server could not start, or failed.
pub async fn serve(
    parts: Parts,
    hostnames: Arc<Hostnames>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let hostnames = Data::from(hostnames);
    let routes = move |config: &mut ServiceConfig| {
        config.app_data(hostnames.clone()).configure(routes);
    };
    server::serve(parts, routes, shutdown).await
}

fn routes(config: &mut ServiceConfig) {
    config
        .configure(hostnames::routes)
        .configure(prefixes::routes)
        .configure(operations::routes);
}
