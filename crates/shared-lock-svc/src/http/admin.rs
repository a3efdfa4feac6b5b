//! Seeing the locks there are, and taking one from its holders.

use actix_web::{
    HttpResponse,
    web::{self, Data, ServiceConfig},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use service_kit::{
    problem::Problem,
    text::{PLAIN, is_plain},
};
use utoipa::ToSchema;

use super::{
    LOCK,
    bodies::{HolderBody, LockBody},
    call::Call,
    fields::Field,
    post,
};
use crate::{
    lease::{LockKey, PageRequest, Refused},
    locks::Locks,
    store::ForceRelease,
};

pub(super) fn routes(config: &mut ServiceConfig) {
    post(config, "/v1/locks:inspect", inspect);
    post(config, "/v1/locks:force-release", force_release);
    config
        .service(web::resource("/v1/locks").get(list))
        .service(web::resource(LOCK).get(inspect).delete(force_release));
}

async fn inspect(mut call: Call, locks: Data<Locks>) -> Result<HttpResponse, Problem> {
    let key = call.key();
    let key = call.fields.finish(|| key)?;
    let lock = locks.inspect(&key).await?;
    let epoch = locks.token_epoch().await?;
    Ok(HttpResponse::Ok().json(LockBody::new(key, lock, &epoch)))
}

#[derive(Serialize, ToSchema)]
#[schema(as = LockPage)]
pub(super) struct PageBody {
    locks: Vec<LockBody>,
    /// What to send as `cursor` to go on; null at the end.
    #[schema(required, value_type = Option<String>)]
    next: Option<Cursor>,
}

async fn list(call: Call, locks: Data<Locks>) -> Result<HttpResponse, Problem> {
    const USUAL: u64 = 100;
    const MOST: u64 = 500;
    let mut fields = call.fields;
    let prefix = fields.optional::<Prefix>("prefix");
    let limit = fields.number("limit", 1..=MOST);
    let after = fields.optional::<Cursor>("cursor");
    let page = fields.finish(|| {
        Some(PageRequest {
            prefix: prefix.map(|Prefix(prefix)| prefix).unwrap_or_default(),
            after: after.map(|Cursor(key)| key),
            limit: usize::try_from(limit.unwrap_or(USUAL)).ok()?,
        })
    })?;
    let page = locks.list(&page).await?;
    let epoch = locks.token_epoch().await?;
    let last = page.locks.last().map(|(key, _)| Cursor(key.clone()));
    let body = |(key, lock)| LockBody::new(key, lock, &epoch);
    Ok(HttpResponse::Ok().json(PageBody {
        next: last.filter(|_| page.more),
        locks: page.locks.into_iter().map(body).collect(),
    }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Forced)]
pub(super) struct ForcedBody {
    key: LockKey,
    /// Who held it.
    released: Vec<HolderBody>,
}

async fn force_release(mut call: Call, locks: Data<Locks>) -> Result<HttpResponse, Problem> {
    let key = call.key();
    let reason = call.fields.optional::<Reason>("reason");
    let key = call.fields.finish(|| key)?;
    let order = ForceRelease {
        reason: reason.map(|Reason(reason)| reason),
        trace_id: call.trace_id,
    };
    let lock = locks.force_release(&key, order).await?;
    let epoch = locks.token_epoch().await?;
    let body = |holder| HolderBody::new(holder, &epoch);
    Ok(HttpResponse::Ok().json(ForcedBody {
        key,
        released: lock.holders.into_iter().map(body).collect(),
    }))
}

/// What keys begin with: as a key, or nothing.
pub(super) struct Prefix(pub(super) String);

impl Field for Prefix {
    fn read(value: serde_json::Value) -> Result<Self, Refused> {
        let prefix = String::read(value)?;
        if !prefix.is_empty() {
            LockKey::parse(prefix.as_str())?;
        }
        Ok(Self(prefix))
    }
}

struct Reason(String);

impl Field for Reason {
    fn read(value: serde_json::Value) -> Result<Self, Refused> {
        let reason = String::read(value)?;
        match reason.len() <= 1024 && is_plain(&reason) {
            true => Ok(Self(reason)),
            false => Err(Refused(format!("must be 1 to 1024 bytes, {PLAIN}"))),
        }
    }
}

/// A place between two pages: the last key of the first, in a form that nobody builds by hand.
struct Cursor(LockKey);

impl Cursor {
    /// Another one when what it says changes its meaning.
    const FORM: &str = "1";
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = format!("{}{}", Self::FORM, self.0);
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(place))
    }
}

impl Field for Cursor {
    fn read(value: serde_json::Value) -> Result<Self, Refused> {
        let place = URL_SAFE_NO_PAD.decode(String::read(value)?).ok();
        let place = place.and_then(|place| String::from_utf8(place).ok());
        place
            .and_then(|place| LockKey::parse_compat(place.strip_prefix(Self::FORM)?).ok())
            .map(Self)
            .ok_or_else(|| Refused("must be the `next` of a page".into()))
    }
}
