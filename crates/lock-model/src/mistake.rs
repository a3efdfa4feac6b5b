//! Mistakes that can be planted into the protocol, to see that the model finds what they break.
//!
//! Some are classics of lock protocols on etcd, some are what the first sketch of readers and
//! permits had, and a few turn out to break nothing: those say which compares are spare.

/// One deviation from the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// The fencing token is the create revision of the holder key, which a hand-over keeps.
    TokenIsCreateRevision,
    /// A release compares the lease of the tenure and not its token.
    ReleaseByLeaseAlone,
    /// A waiter is promoted because the lock is free, wherever it stands in the queue.
    PromotionWithoutOrder,
    /// Two operations on one lock ride in one transaction, and see the same state before it.
    TwoOperationsInABatch,
    /// Cancelling a waiter deletes the guard key of its session.
    CancelDeletesTheSessionGuard,
    /// Acquire and enqueue do not look for the tombstone of their request.
    NoTombstone,
    /// "Acquired" is answered without a keepalive of the tenure's lease.
    NoKeepaliveBeforeTheAnswer,
    /// What a keepalive promised, sent along with the acquire, is believed however long ago that was.
    ConfirmedForEver,
    /// A waiter whose cancel fails because its entry is gone answers "not acquired" unseen.
    GoneMeansNotAcquired,
    /// An entry whose lease is gone is left in the queue: neither cancelled nor swept nor evicted.
    DeadEntryStays,
    /// A release by request id acts once and is over, whatever came of it.
    ReleaseByRequestIdOnce,
    /// A replica whose liveness key is gone answers "not acquired" without a tombstone.
    FinalAnswerWithoutTombstone,
    /// The replica's liveness key is not compared by acquire and enqueue.
    NoLivenessCompare,

    /// An acquire takes what fits, however many wait.
    BargingPastTheQueue,
    /// An exclusive grant does not compare that there are no readers.
    WriterIgnoresReaders,
    /// A permit is granted by what the view shows, with no compare that none was added.
    NoCapacityCompare,
    /// A permit counts the weight that its view shows, and compares up to the revision in the watch's
    /// header, which is ahead of the events.
    CountedUpToTheWatchHeader,
    /// Only the limit of the request itself is respected, not those of the permits granted.
    OnlyTheOwnLimitCounts,
    /// The tenure key of a reader is named by its lease, not by its request.
    TenureNamedByLease,
    /// A reader's acquire does not compare that its own tenure key is absent.
    AcquireOverTheOwnTenure,
    /// A reader's enqueue does not compare that its own tenure key is absent.
    EnqueueBesideTheOwnTenure,
    /// A release by request id looks at holder and queue only, as it did before there were readers.
    EndLooksPastReaders,
    /// Nobody compares the lock-delay.
    DelayIgnored,
    /// A run of readers may grant two waiters of one session in one transaction: two tenures with
    /// the same lease and the same token.
    RunTakesALeaseTwice,
    /// A run leaves out who does not fit and goes on behind it.
    RunSkipsWhoDoesNotFit,
    /// Waiters are promoted only when the lock is quite free.
    PromotionOnlyWhenFree,
    /// Nobody promotes: the last one out is trusted to hand over.
    NobodyPromotes,
    /// A release with waiters always hands over, and tries for ever when nobody fits.
    ReleaseOnlyHandsOver,
    /// Enqueue does not compare the holder that it read.
    EnqueueIgnoresTheHolder,
    /// The capacity compare does not count the permit that leaves, and so fails on it.
    CapacityCompareForgetsWhoLeaves,

    /// A pooled request of unknown outcome revokes its lease and leaves its queue entry to others.
    RevokeWithoutCancel,
    /// A pooled request is closed by a tombstone, like one in a session, and its lease not revoked.
    PooledClosesByTombstone,
    /// Hand-over and promotion do not compare that the waiters' leases live.
    GrantWithoutGuard,
    /// Hand-over and promotion do not compare that their head is first.
    GrantWithoutOrder,
    /// Hand-over and promotion do not compare that there is room: neither holder nor readers nor
    /// permits nor delay.
    GrantWithoutRoom,
}

impl Mistake {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::TokenIsCreateRevision,
        Self::ReleaseByLeaseAlone,
        Self::PromotionWithoutOrder,
        Self::TwoOperationsInABatch,
        Self::CancelDeletesTheSessionGuard,
        Self::NoTombstone,
        Self::NoKeepaliveBeforeTheAnswer,
        Self::ConfirmedForEver,
        Self::GoneMeansNotAcquired,
        Self::DeadEntryStays,
        Self::ReleaseByRequestIdOnce,
        Self::FinalAnswerWithoutTombstone,
        Self::NoLivenessCompare,
        Self::BargingPastTheQueue,
        Self::WriterIgnoresReaders,
        Self::NoCapacityCompare,
        Self::CountedUpToTheWatchHeader,
        Self::OnlyTheOwnLimitCounts,
        Self::TenureNamedByLease,
        Self::AcquireOverTheOwnTenure,
        Self::EnqueueBesideTheOwnTenure,
        Self::EndLooksPastReaders,
        Self::DelayIgnored,
        Self::RunTakesALeaseTwice,
        Self::RunSkipsWhoDoesNotFit,
        Self::PromotionOnlyWhenFree,
        Self::NobodyPromotes,
        Self::ReleaseOnlyHandsOver,
        Self::EnqueueIgnoresTheHolder,
        Self::CapacityCompareForgetsWhoLeaves,
        Self::RevokeWithoutCancel,
        Self::PooledClosesByTombstone,
        Self::GrantWithoutGuard,
        Self::GrantWithoutOrder,
        Self::GrantWithoutRoom,
    ];
}
