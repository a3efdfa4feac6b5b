//! The whole API: the native calls under `/v1`, and the tentens-tech/shared-lock wire.

mod acquire;
mod admin;
mod bodies;
mod call;
mod events;
mod fallback;
mod fields;
mod key;
mod lease;
mod openapi;
mod pprof;
mod problem;
mod sessions;
mod tenure;

use std::{future::Future, sync::Arc};

use actix_web::{
    FromRequest, Handler, Responder,
    web::{self, Data, ServiceConfig},
};
use service_kit::server::{self, Parts};

pub use self::{lease::Compat, openapi::document, problem::PROBLEMS};
use crate::locks::Locks;

/// A lock by its name: one segment, `/` in it is `%2F`; the empty one is let in to be refused by name.
const LOCK: &str = "/v1/locks/{key:[^/]*}";

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
    let profiles = compat.profiles;
    let compat = Data::new(compat);
    let locks = Data::from(locks);
    let routes = move |config: &mut ServiceConfig| {
        config.app_data(locks.clone()).app_data(compat.clone());
        if profiles {
            config.configure(pprof::routes);
        }
        config.configure(routes);
    };
    server::serve(parts, routes, shutdown).await
}

fn routes(config: &mut ServiceConfig) {
    config
        .configure(acquire::routes)
        .configure(tenure::routes)
        .configure(sessions::routes)
        .configure(events::routes)
        .configure(admin::routes)
        .configure(lease::routes)
        .default_service(web::to(fallback::unknown));
}

/// A call on a lock, which is named by the path, or by the field `key` of the body.
fn on_lock<F, Args>(config: &mut ServiceConfig, verb: &str, handler: F)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    post(config, &format!("{LOCK}/{verb}"), handler.clone());
    post(config, &format!("/v1/locks:{verb}"), handler);
}

fn post<F, Args>(config: &mut ServiceConfig, path: &str, handler: F)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    config.service(web::resource(path).post(handler));
}
