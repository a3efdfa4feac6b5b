//! Bodies, field by field, as `Fields` reads them.

use service_kit::openapi::schema::{fields, flag, line, list, members, whole};
use utoipa::{
    PartialSchema,
    openapi::{ObjectBuilder, RefOr, schema::AdditionalProperties},
};

use super::values::{parts, reason, requested_by};
use crate::{hostname::Counter, http::wish::MANY_MAX};

/// A request for one hostname.
pub(super) fn wish() -> ObjectBuilder {
    let values = RefOr::T(line(1..=256).into());
    let labels = members()
        .property_names(Some(line(1..=63).pattern(Some("^[A-Za-z0-9._/-]+$"))))
        .additional_properties(Some(AdditionalProperties::RefOr(values)))
        .max_properties(Some(16))
        .description(Some("What else is to stand in the record."));
    parts(fields())
        .property("requested_by", requested_by())
        .property("reason", reason())
        .property("labels", labels)
}

pub(super) fn batch() -> ObjectBuilder {
    wish().property("count", count()).required("count")
}

pub(super) fn import() -> ObjectBuilder {
    let counters = list(Counter::schema(), 1..=MANY_MAX).unique_items(true);
    let dry_run = flag()
        .default(Some(false.into()))
        .description(Some("Whether it is only a question: nothing is written."));
    wish()
        .property("counters", counters)
        .required("counters")
        .property("dry_run", dry_run)
}

pub(super) fn floor() -> ObjectBuilder {
    let floor = whole(1..=u64::MAX).description(Some(
        "No number up to it is given out any more; at most the prefix's last.",
    ));
    fields().property("floor", floor).required("floor")
}

/// How many hostnames.
pub(super) fn count() -> ObjectBuilder {
    whole(1..=MANY_MAX as u64)
}
