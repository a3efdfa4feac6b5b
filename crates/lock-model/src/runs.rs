//! The scenarios that have names.

use crate::{scenario::Scenario, spec};

/// What a name stands for, in the words of [`spec`].
type Named = (&'static str, &'static str);

/// Explored to the end by the tests, in seconds; nothing may be broken.
pub const QUICK: &[Named] = &[
    ("exclusive-queue", "modes=XXX timeouts=1"),
    ("exclusive-unknown", "modes=XX unknown=1 timeouts=1"),
    (
        "exclusive-session-unknown",
        "modes=XX sessions unknown=1 breaks=1",
    ),
    (
        "exclusive-session-again",
        "modes=XXX clients=001 sessions duplicates=1",
    ),
    ("exclusive-repeats", "modes=XX sessions repeats=1"),
    (
        "exclusive-repeats-lapse",
        "modes=XX sessions repeats=1 lapses=1 replicas=2 lag=1",
    ),
    ("exclusive-crash", "modes=XX crashes=1"),
    (
        "exclusive-lapse",
        "modes=XX sessions breaks=1 lapses=1 forgets=1 replicas=1",
    ),
    ("exclusive-expiry", "modes=XXX expiries=1 replicas=1"),
    (
        "exclusive-delay",
        "modes=XX delay expiries=1 plain replicas=1",
    ),
    ("exclusive-forced", "modes=XX forced=1 timeouts=1"),
    (
        "exclusive-two-locks",
        "modes=XXX clients=001 locks=010 sessions concurrent batches",
    ),
    ("shared-readers-then-writer", "modes=SSX timeouts=1"),
    ("shared-writer-then-readers", "modes=XSS"),
    ("shared-between-writers", "modes=XSSX replicas=1 run=1"),
    ("shared-expiry", "modes=SXS replicas=1 expiries=1"),
    ("shared-unknown", "modes=SXS replicas=1 unknown=1"),
    (
        "shared-session-unknown",
        "modes=SX sessions unknown=1 replicas=1 breaks=1",
    ),
    (
        "shared-session-twice",
        "modes=XSS clients=011 concurrent sessions duplicates=1 replicas=1",
    ),
    ("shared-repeats", "modes=SX sessions repeats=1"),
    ("shared-crash", "modes=SX crashes=1"),
    ("shared-delay", "modes=XXS delay expiries=1 replicas=1"),
    ("shared-forced", "modes=SSX forced=1 replicas=1"),
    ("permit-weights", "modes=112 limit=2"),
    ("permit-run", "modes=2111 limit=3 replicas=1 timeouts=1"),
    ("permit-limits", "modes=1x1 limit=2 timeouts=1"),
    ("permit-expiry", "modes=211 limit=3 replicas=1 expiries=1"),
    (
        "permit-session-unknown",
        "modes=21 limit=2 sessions unknown=1 replicas=1 breaks=1",
    ),
    ("permit-crash", "modes=11 limit=1 crashes=1"),
    ("mixed-modes", "modes=1XS limit=2 replicas=1 timeouts=1"),
    (
        "mixed-readers-and-permits",
        "modes=S1S limit=2 replicas=1 timeouts=1",
    ),
];

/// Minutes each; nothing may be broken.
pub const LARGE: &[Named] = &[
    (
        "exclusive-unknown-breaks",
        "modes=XX unknown=1 timeouts=1 breaks=1",
    ),
    (
        "exclusive-session-unknown-breaks",
        "modes=XX sessions unknown=1 breaks=1 timeouts=1 duplicates=1",
    ),
    (
        "exclusive-session-two-unknown",
        "modes=XX sessions unknown=2 breaks=1 timeouts=1 replicas=1 duplicates=1",
    ),
    (
        "exclusive-session-crash-unknown",
        "modes=XX sessions crashes=1 unknown=1 breaks=1",
    ),
    (
        "exclusive-session-repeats-breaks",
        "modes=XX sessions repeats=1 breaks=1",
    ),
    (
        "exclusive-lapse-forgets",
        "modes=XX sessions breaks=1 lapses=1 forgets=1",
    ),
    (
        "exclusive-plain-delay-forced",
        "modes=XX plain delay expiries=1 forced=1",
    ),
    (
        "exclusive-three-expiries",
        "modes=XXX expiries=1 timeouts=1",
    ),
    (
        "exclusive-two-locks-unknown",
        "modes=XXX clients=001 locks=010 sessions concurrent batches timeouts=1 unknown=1 replicas=1",
    ),
    ("shared-writer-then-readers-expiry", "modes=XSS expiries=1"),
    ("shared-readers-then-writer-expiry", "modes=SSX expiries=1"),
    (
        "shared-session-unknown-breaks",
        "modes=SX sessions unknown=1 breaks=1",
    ),
    (
        "shared-session-crash-unknown",
        "modes=SX sessions crashes=1 unknown=1",
    ),
    (
        "shared-session-twice-unknown",
        "modes=XSS clients=011 concurrent sessions unknown=1 breaks=1 replicas=1",
    ),
    (
        "shared-repeats-timeouts",
        "modes=SXS sessions repeats=1 timeouts=1 lag=1",
    ),
    ("shared-four", "modes=SXSX timeouts=1 lag=1"),
    (
        "shared-four-one-replica",
        "modes=XSSX expiries=1 timeouts=1 replicas=1",
    ),
    ("permit-expiry-two-replicas", "modes=111 limit=2 expiries=1"),
    (
        "permit-weights-timeouts",
        "modes=211 limit=3 timeouts=1 unknown=1 lag=1",
    ),
    (
        "permit-session-unknown-breaks",
        "modes=21 limit=2 sessions unknown=1 breaks=1",
    ),
    (
        "permit-four",
        "modes=1211 limit=3 timeouts=1 expiries=1 replicas=1",
    ),
    ("mixed-expiry", "modes=X1S limit=2 expiries=1 lag=1"),
];

/// A mistake each, which must be found.
pub const PLANTED: &[Named] = &[
    ("planted-token", "modes=XX mistake=TokenIsCreateRevision"),
    (
        "planted-release-by-lease",
        "modes=XX clients=00 sessions duplicates=1 mistake=ReleaseByLeaseAlone",
    ),
    (
        "planted-promotion-order",
        "modes=XXX expiries=1 replicas=1 mistake=PromotionWithoutOrder",
    ),
    (
        "planted-batch-enqueues",
        "modes=XXX replicas=1 mistake=TwoOperationsInABatch",
    ),
    (
        "planted-batch-cancel",
        "modes=XX sessions timeouts=1 replicas=1 mistake=TwoOperationsInABatch",
    ),
    (
        "planted-batch-permits",
        "modes=111 limit=2 replicas=1 mistake=TwoOperationsInABatch",
    ),
    (
        "planted-session-guard",
        "modes=XXX clients=010 sessions timeouts=1 mistake=CancelDeletesTheSessionGuard",
    ),
    (
        "planted-no-tombstone",
        "modes=XX sessions breaks=1 mistake=NoTombstone",
    ),
    (
        "planted-no-keepalive",
        "modes=XX expiries=1 mistake=NoKeepaliveBeforeTheAnswer",
    ),
    (
        "planted-gone",
        "modes=XX sessions timeouts=1 mistake=GoneMeansNotAcquired",
    ),
    (
        "planted-dead-entry",
        "modes=XX expiries=1 mistake=DeadEntryStays",
    ),
    (
        "planted-end-once",
        "modes=XX sessions breaks=1 replicas=1 mistake=ReleaseByRequestIdOnce",
    ),
    (
        "planted-final-answer",
        "modes=XX sessions repeats=1 lapses=1 mistake=FinalAnswerWithoutTombstone",
    ),
    (
        "planted-no-liveness",
        "modes=X sessions breaks=1 lapses=1 forgets=1 mistake=NoLivenessCompare",
    ),
    (
        "planted-enqueue-blind",
        "modes=XX sessions repeats=1 mistake=EnqueueIgnoresTheHolder",
    ),
    ("planted-barging", "modes=SSX mistake=BargingPastTheQueue"),
    (
        "planted-writer-blind",
        "modes=SX mistake=WriterIgnoresReaders",
    ),
    (
        "planted-no-capacity",
        "modes=111 limit=2 mistake=NoCapacityCompare",
    ),
    (
        "planted-watch-header",
        "modes=11 limit=1 mistake=CountedUpToTheWatchHeader",
    ),
    (
        "planted-own-limit",
        "modes=1x limit=2 mistake=OnlyTheOwnLimitCounts",
    ),
    (
        "planted-forgets-leaving",
        "modes=111 limit=2 replicas=1 mistake=CapacityCompareForgetsWhoLeaves",
    ),
    (
        "planted-tenure-by-lease",
        "modes=SS clients=00 concurrent sessions mistake=TenureNamedByLease",
    ),
    (
        "planted-acquire-twice",
        "modes=SX repeats=1 mistake=AcquireOverTheOwnTenure",
    ),
    (
        "planted-enqueue-beside",
        "modes=SX sessions repeats=1 timeouts=1 lag=1 mistake=EnqueueBesideTheOwnTenure",
    ),
    (
        "planted-end-blind",
        "modes=SX sessions breaks=1 replicas=1 mistake=EndLooksPastReaders",
    ),
    (
        "planted-delay-ignored",
        "modes=XS delay expiries=1 replicas=1 mistake=DelayIgnored",
    ),
    (
        "planted-lease-twice",
        "modes=XSS clients=011 concurrent sessions duplicates=1 replicas=1 mistake=RunTakesALeaseTwice",
    ),
    (
        "planted-run-skips",
        "modes=XSXS replicas=1 mistake=RunSkipsWhoDoesNotFit",
    ),
    (
        "planted-promotes-when-free",
        "modes=SXS timeouts=1 replicas=1 mistake=PromotionOnlyWhenFree",
    ),
    (
        "planted-nobody-promotes",
        "modes=SSX replicas=1 mistake=NobodyPromotes",
    ),
    (
        "planted-only-hands-over",
        "modes=SSX replicas=1 mistake=ReleaseOnlyHandsOver",
    ),
];

/// Parts of the protocol that may be left out without breaking anything that is modelled.
pub const SPARE: &[Named] = &[
    (
        "spare-cancel-after-revoke",
        "modes=XX unknown=1 expiries=1 mistake=RevokeWithoutCancel",
    ),
    (
        "spare-revoke",
        "modes=XX unknown=1 timeouts=1 expiries=1 mistake=PooledClosesByTombstone",
    ),
    (
        "spare-revoke-readers",
        "modes=SXS unknown=1 replicas=1 expiries=1 mistake=PooledClosesByTombstone",
    ),
    (
        "spare-guard",
        "modes=XX expiries=1 unknown=1 mistake=GrantWithoutGuard",
    ),
    (
        "spare-order",
        "modes=XXX timeouts=1 expiries=1 replicas=1 mistake=GrantWithoutOrder",
    ),
    (
        "spare-order-readers",
        "modes=XSS expiries=1 replicas=1 mistake=GrantWithoutOrder",
    ),
    (
        "spare-room-writers",
        "modes=XXX timeouts=1 expiries=1 replicas=1 mistake=GrantWithoutRoom",
    ),
    (
        "spare-room-readers",
        "modes=SXS timeouts=1 expiries=1 replicas=1 mistake=GrantWithoutRoom",
    ),
    (
        "spare-room-permits",
        "modes=211 limit=3 timeouts=1 expiries=1 replicas=1 mistake=GrantWithoutRoom",
    ),
];

/// What a client of etcd that knows nothing of the protocol breaks.
pub const STRANGERS: &[Named] = &[
    ("stranger-beside-readers", "modes=SX plain"),
    (
        "stranger-and-no-room",
        "modes=XX plain expiries=1 mistake=GrantWithoutRoom",
    ),
];

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|(name, _)| *name)
}

/// The scenario called `name`.
///
/// # Errors
///
/// Says that there is none.
pub fn scenario(name: &str) -> Result<Scenario, String> {
    let (name, words) = all()
        .find(|(named, _)| *named == name)
        .ok_or(format!("{name}: no such scenario"))?;
    let mut scenario = spec::parse(words)?;
    scenario.name = format!("{name} ({words})");
    Ok(scenario)
}

fn all() -> impl Iterator<Item = &'static Named> {
    [QUICK, LARGE, PLANTED, SPARE, STRANGERS]
        .into_iter()
        .flatten()
}
