//! Calls on locks.

use serde_json::{Value, json};
use service_kit::openapi::{
    Endpoint,
    schema::{fields, list, members, text, whole},
};
use utoipa::{
    PartialSchema,
    openapi::{
        HttpMethod::{Delete, Get, Post},
        ObjectBuilder, Schema,
        schema::{SchemaType, Type},
    },
};

use super::{
    bodies,
    values::{key, prefix, reason},
};
use crate::{
    http::{
        acquire::{AcquiredBody, AllAcquiredBody},
        admin::{ForcedBody, PageBody},
        bodies::LockBody,
        problem::{
            DEADLOCK, LEASE_NOT_FOUND, LOCK_HELD, MIXED_FLEET, REQUEST_ENDED, REQUEST_KNOWN,
            SESSION_NOT_FOUND, SHUTTING_DOWN, TOO_MANY_LOCKS, TOO_MANY_WAITERS,
        },
        tenure::{KeptAliveBody, ReleasedBody, VerifiedBody},
    },
    lease::Holder,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let tenures = [acquire(), keep_alive(), release(), verify()];
    let mut all: Vec<_> = tenures.into_iter().flatten().collect();
    all.push(acquire_all());
    all.push(list_locks());
    all.extend(inspect());
    all.extend(force_release());
    all
}

/// A `POST` on a lock, which is named by the path, or by the field `key` of the body.
struct Call {
    verb: &'static str,
    id: &'static str,
    summary: &'static str,
    body: fn(ObjectBuilder) -> Schema,
    example: Value,
}

impl Call {
    fn endpoints(self, told: impl Fn(Endpoint) -> Endpoint) -> [Endpoint; 2] {
        let Self {
            verb,
            id,
            summary,
            body,
            mut example,
        } = self;
        let name = format!("{}{}", id[..1].to_ascii_uppercase(), &id[1..]);
        let path = format!("/v1/locks/{{key}}/{verb}");
        let in_path = Endpoint::new(Post, path, &format!("{id}Lock"), summary)
            .path("key", "The lock.", key())
            .takes(&name, body(fields()), example.clone());
        example["key"] = "backup".into();
        let summary = format!("{summary}; the lock is named in the body");
        let path = format!("/v1/locks:{verb}");
        let in_body = Endpoint::new(Post, path, &format!("{id}LockByBody"), &summary).takes(
            &format!("{name}ByBody"),
            body(bodies::with_key(fields())),
            example,
        );
        [told(in_path), told(in_body)]
    }
}

fn acquire() -> [Endpoint; 2] {
    let call = Call {
        verb: "acquire",
        id: "acquire",
        summary: "Take a lock, or wait for it",
        body: bodies::acquire,
        example: json!({ "holder": "worker-7", "ttl_ms": 10_000, "wait_ms": 5_000 }),
    };
    call.endpoints(|call| {
        let call = call
            .about("Count the validity on your own clock: from the send of the call, `elapsed_ms + remaining_ms`, less a margin. Hanging up ends the request.")
            .answers::<AcquiredBody>(201, "It is held.", json!({
                "key": "backup", "request_id": "0b5ed7f0-3c3d-4b35-b4a5-5d1f2f0c8a11",
                "lease_id": "7587869164236637445", "holder": "worker-7", "mode": "exclusive",
                "fencing_token": "1042", "token_epoch": "8f0c2d6e", "ttl_ms": 10_000,
                "remaining_ms": 9_998, "elapsed_ms": 4,
            }));
        taking(call).refuses_with(&DEADLOCK, "cycle", cycle())
    })
}

fn acquire_all() -> Endpoint {
    let call = Endpoint::new(Post, "/v1/locks:acquire-all", "acquireAllLocks", "Take several locks, or none")
        .about("They hang on one session, opened for them when `ttl_ms` is given. The call does not queue: it tries again whenever one of the locks changes, and may starve.")
        .takes("AcquireAll", bodies::acquire_all(), json!({
            "holder": "worker-7", "ttl_ms": 10_000, "locks": [{ "key": "a" }, { "key": "b", "mode": "shared" }],
        }))
        .answers::<AllAcquiredBody>(201, "All are held.", json!({
            "request_id": "0b5ed7f0-3c3d-4b35-b4a5-5d1f2f0c8a11", "session_id": "7587869164236637445",
            "holder": "worker-7", "token_epoch": "8f0c2d6e", "ttl_ms": 10_000, "remaining_ms": 9_998,
            "elapsed_ms": 4, "locks": [
                { "key": "a", "mode": "exclusive", "fencing_token": "1043" },
                { "key": "b", "mode": "shared", "fencing_token": "1043" },
            ],
        }))
        .refuses_with(&LOCK_HELD, "key", text().description(Some("One that was held.")));
    taking(call)
}

/// How whoever takes locks is refused.
fn taking(call: Endpoint) -> Endpoint {
    let maybe = |number: ObjectBuilder, about| {
        number
            .schema_type(SchemaType::Array(vec![Type::Integer, Type::Null]))
            .description(Some(about))
    };
    let holder = text().schema_type(SchemaType::Array(vec![Type::String, Type::Null]));
    call.refuses_with(
        &LOCK_HELD,
        "holder",
        holder.description(Some("Who holds it, where that is known.")),
    )
    .refuses_with(
        &LOCK_HELD,
        "held_ms",
        maybe(whole(0..=u64::MAX), "For how long."),
    )
    .refuses_with(
        &LOCK_HELD,
        "remaining_ms",
        maybe(whole(0..=u64::MAX), "What is left of its lease."),
    )
    .refuses_with(
        &LOCK_HELD,
        "queue_length",
        whole(0..=u64::MAX).description(Some("How many wait.")),
    )
    .refuses(&[
        &REQUEST_KNOWN,
        &MIXED_FLEET,
        &SESSION_NOT_FOUND,
        &REQUEST_ENDED,
    ])
    .refuses(&[&TOO_MANY_WAITERS, &TOO_MANY_LOCKS, &SHUTTING_DOWN])
}

/// Who waits for what, in a circle.
fn cycle() -> utoipa::openapi::schema::Array {
    let member = members()
        .property("key", text())
        .required("key")
        .property("holder", Holder::schema())
        .required("holder");
    list(Schema::from(member), 0..=usize::MAX)
        .description(Some("Each holder, and the lock that it waits for."))
        .build()
}

fn keep_alive() -> [Endpoint; 2] {
    let call = Call {
        verb: "keepalive",
        id: "keepAlive",
        summary: "Restart the life of a lease",
        body: bodies::keep_alive,
        example: json!({ "lease_id": "7587869164236637445" }),
    };
    call.endpoints(|call| {
        call.answers::<KeptAliveBody>(
            200,
            "It is renewed.",
            json!({
                "lease_id": "7587869164236637445", "ttl_ms": 10_000, "remaining_ms": 9_998,
            }),
        )
        .refuses(&[&LEASE_NOT_FOUND])
    })
}

fn release() -> [Endpoint; 2] {
    let call = Call {
        verb: "release",
        id: "release",
        summary: "Give a lock back, or end a request for it",
        body: bodies::release,
        example: json!({ "lease_id": "7587869164236637445", "fencing_token": "1042", "note": "done up to row 17" }),
    };
    call.endpoints(|call| {
        call.about("Safe to repeat: a late one never ends the next tenure. The note comes with every later acquire until another release writes over it; the empty one clears it.")
            .answers::<ReleasedBody>(200, "It is given back; `false`: it was over already.", json!({ "released": true }))
    })
}

fn verify() -> [Endpoint; 2] {
    let call = Call {
        verb: "verify",
        id: "verify",
        summary: "Ask whether a tenure is the current one",
        body: bodies::verify,
        example: json!({ "lease_id": "7587869164236637445", "fencing_token": "1042" }),
    };
    call.endpoints(|call| {
        call.about("At some moment between the call and its answer. Never from memory.")
            .answers::<VerifiedBody<'static>>(200, "Whether it is.", json!({
                "key": "backup", "current": true, "fencing_token": "1042", "token_epoch": "8f0c2d6e", "remaining_ms": 9_488,
            }))
    })
}

fn list_locks() -> Endpoint {
    Endpoint::new(
        Get,
        "/v1/locks",
        "listLocks",
        "See the locks that somebody holds or waits for",
    )
    .about("In the byte order of their keys. Each page is as of its own moment.")
    .query("prefix", "What the keys begin with.", prefix())
    .query(
        "limit",
        "Locks of one page.",
        whole(1..=500).default(Some(100.into())),
    )
    .query("cursor", "The `next` of the page before.", text())
    .answers::<PageBody>(200, "A page.", json!({ "locks": [lock()], "next": null }))
}

fn inspect() -> [Endpoint; 2] {
    let seen = |call: Endpoint| {
        call.answers::<LockBody>(200, "Its holders, and who waits, in order.", lock())
    };
    let summary = "See who holds a lock and who waits for it";
    let in_path = Endpoint::new(Get, "/v1/locks/{key}", "inspectLock", summary).path(
        "key",
        "The lock.",
        key(),
    );
    let in_body = Endpoint::new(Post, "/v1/locks:inspect", "inspectLockByBody", summary).takes(
        "InspectByBody",
        bodies::with_key(fields()),
        json!({ "key": "backup" }),
    );
    [seen(in_path), seen(in_body)]
}

fn force_release() -> [Endpoint; 2] {
    let summary = "Take a lock from all its holders";
    let forced = |call: Endpoint| {
        call.about("An administrator's word. The lock goes to the next waiter, if there is one. The reason is in the event and in the audit log.")
            .answers::<ForcedBody>(200, "Who held it.", json!({ "key": "backup", "released": [holder()] }))
    };
    let in_path = Endpoint::new(Delete, "/v1/locks/{key}", "forceReleaseLock", summary)
        .path("key", "The lock.", key())
        .query("reason", "Why.", reason());
    let body = bodies::with_key(fields()).property("reason", reason());
    let in_body = Endpoint::new(
        Post,
        "/v1/locks:force-release",
        "forceReleaseLockByBody",
        summary,
    )
    .takes(
        "ForceReleaseByBody",
        body,
        json!({ "key": "backup", "reason": "its host is gone" }),
    );
    [forced(in_path), forced(in_body)]
}

fn holder() -> Value {
    json!({
        "holder": "worker-7", "mode": "exclusive", "fencing_token": "1042", "token_epoch": "8f0c2d6e",
        "held_ms": 512, "ttl_ms": 10_000, "remaining_ms": 9_488, "metadata": {},
    })
}

fn lock() -> Value {
    let waiter = json!({ "holder": "worker-8", "mode": "exclusive", "waiting_ms": 80 });
    json!({ "key": "backup", "holders": [holder()], "waiters": [waiter] })
}
