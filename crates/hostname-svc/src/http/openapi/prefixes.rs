//! Calls on prefixes.

use serde_json::{Value, json};
use service_kit::openapi::Endpoint;
use utoipa::{
    PartialSchema,
    openapi::HttpMethod::{Get, Put},
};

use super::{
    bodies,
    hostnames::{MOVING, ambiguous, paged},
};
use crate::{
    hostname::{Application, Environment, Role},
    http::{
        bodies::{PrefixBody, PrefixPageBody},
        problem::PREFIX_NOT_FOUND,
    },
};

const ONE: &str = "/v1/prefixes/{application}/{role}/{environment}";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let list = Endpoint::new(Get, "/v1/prefixes", "listPrefixes", "List prefixes");
    let page = json!({ "prefixes": [prefix()], "next": null });
    let find = Endpoint::new(Get, ONE, "findPrefix", "See how far a prefix has come");
    let path = format!("{ONE}/floor");
    let floor = Endpoint::new(Put, path, "raiseFloor", "Give out no number up to this one")
        .about("It only ever rises: a floor at or below the counter changes nothing. There is no way back.")
        .takes("Floor", bodies::floor(), json!({ "floor": 100 }));
    vec![
        paged(list).answers::<PrefixPageBody>(200, "A page.", page),
        of_one(find).refuses(&[&PREFIX_NOT_FOUND]),
        ambiguous(of_one(floor)).refuses(MOVING),
    ]
}

fn of_one(call: Endpoint) -> Endpoint {
    call.path("application", "The application.", Application::schema())
        .path("role", "The role.", Role::schema())
        .path("environment", "The environment.", Environment::schema())
        .answers::<PrefixBody>(200, "Its numbers.", prefix())
}

fn prefix() -> Value {
    json!({
        "application": "splunk", "role": "web", "environment": "dev", "counter": 120,
        "last": 9_007_199_254_740_991_u64, "fill": 1.3e-14, "given": 118, "pending": 0, "skipped": 2, "passed_over": 100,
    })
}
