//! The values that bodies and answers are made of.

use std::borrow::Cow;

use service_kit::{
    openapi::schema::{line, text, word},
    text::PLAIN,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema},
};

use crate::lease::{FencingToken, Holder, LeaseId, LockKey, Note, RequestId};

/// The word for a mode, as answers have it.
pub(in crate::http) struct ModeWord;

impl ModeWord {
    pub(super) const ALL: [&str; 3] = ["exclusive", "shared", "permit"];
}

macro_rules! values {
    ($($type:ty: $name:literal, $about:literal, $example:literal, $schema:expr;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let schema: ObjectBuilder = $schema;
                RefOr::T(schema.description(Some($about)).examples([$example]).into())
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
    LockKey: "LockKey", "Name of a lock: at most 1024 bytes.", "backup", text().max_length(Some(1024));
    Holder: "Holder", "Who holds or wants a lock, as it calls itself: 1–256 bytes without control characters.", "worker-7", line(1..=256);
    RequestId: "RequestId", "Names one request to acquire; one id is one tenure.", "0b5ed7f0-3c3d-4b35-b4a5-5d1f2f0c8a11",
        text().pattern(Some("^[A-Za-z0-9._-]{1,64}$"));
    LeaseId: "LeaseId", "Identity of a lease or a session: an int64 in decimal digits.", "7587869164236637445", text().pattern(Some("^-?[0-9]{1,19}$"));
    FencingToken: "FencingToken", "Grows strictly with every grant of a lock, within one token epoch: a positive int64 in decimal digits.", "1042",
        text().pattern(Some("^[1-9][0-9]{0,19}$"));
    Note: "Note", "A word from one holder of a lock to the next: at most 1024 bytes.", "done up to row 17", text().max_length(Some(1024));
    ModeWord: "Mode", "How a lock is held: by one, by any number of readers, or by as many as fit.", "exclusive", word(Self::ALL);
}

/// The name of a lock as `/v1` takes it.
pub(super) fn key() -> ObjectBuilder {
    line(1..=1024)
        .description(Some("Name of the lock: 1–1024 bytes of UTF-8 without control characters. In a path it is one segment, `/` is `%2F`."))
        .examples(["backup"])
}

/// What keys begin with.
pub(super) fn prefix() -> ObjectBuilder {
    text().max_length(Some(1024)).examples(["jobs/"])
}

/// Why an administrator takes a lock away.
pub(super) fn reason() -> ObjectBuilder {
    line(1..=1024)
        .description(Some(format!("1–1024 bytes {PLAIN}.")))
        .examples(["its host is gone"])
}
