//! The values that bodies and answers are made of.

use std::borrow::Cow;

use service_kit::{
    openapi::schema::{line, members, text, whole, word},
    text::PLAIN,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema},
};

use crate::{
    documents::{Fence, Moment},
    hostname::{Application, Counter, Environment, Hostname, Prefix, Role},
};

/// The highest number of any prefix: beyond 2^53 not every JSON parser keeps a number.
const COUNTER_MAX: u64 = (1 << 53) - 1;

/// How far an operation has come.
pub(in crate::http) struct Status;

macro_rules! values {
    ($($type:ty: $name:literal, $about:literal, $schema:expr;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let schema: ObjectBuilder = $schema;
                RefOr::T(schema.description(Some($about)).into())
            }
        }
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $name.into()
            }
        }
    )*};
}
values! {
    Application: "Application", "1–60 of `a-z` and `0-9`, with single hyphens between them.",
        part().examples(["splunk"]);
    Role: "Role", "As the application. Whether it may end in a digit is for the policy of the prefix; by default it may not, since the counter follows it.",
        part().examples(["web"]);
    Environment: "Environment", "As the application. Whether it may have digits is for the policy of the prefix; by default it may not, since the counter stands before it.",
        part().examples(["dev"]);
    Hostname: "Hostname", "One label of at most 63 characters.",
        text().pattern(Some("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")).examples(["splunkweb1dev"]);
    Counter: "Counter", "The number in a hostname.", whole(1..=COUNTER_MAX).examples([1]);
    Moment: "Moment", "RFC 3339 in UTC, to the millisecond.",
        text().pattern(Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$"));
    Fence: "Fence", "The tenure of the prefix's lock: tokens compare only within one epoch.",
        members()
            .property("fencing_token", text().pattern(Some("^[0-9]+$"))).required("fencing_token")
            .property("token_epoch", text()).required("token_epoch");
    Status: "Status", "How far an operation has come.", word(["running", "done", "failed"]);
    Prefix: "Prefix", "What shares a counter: at most 62 characters together.", parts(members());
}

fn part() -> ObjectBuilder {
    line(1..=60).pattern(Some("^[a-z0-9]+(-[a-z0-9]+)*$"))
}

/// The three parts of a prefix.
pub(super) fn parts(body: ObjectBuilder) -> ObjectBuilder {
    body.property("application", Application::schema())
        .required("application")
        .property("role", Role::schema())
        .required("role")
        .property("environment", Environment::schema())
        .required("environment")
}

/// Who asks.
pub(super) fn requested_by() -> ObjectBuilder {
    line(1..=256)
        .description(Some(format!("1–256 characters {PLAIN}.")))
        .examples(["ops"])
}

/// Why.
pub(super) fn reason() -> ObjectBuilder {
    line(1..=1024)
        .description(Some(format!("1–1024 characters {PLAIN}.")))
        .examples(["one more indexer"])
}
