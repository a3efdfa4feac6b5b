//! The statements. Reading names the partition itself: planned through the parent, a look-up by key
//! is three times slower, since all sixteen partitions are opened and locked for it.

use crate::digest::Digest;

/// One statement for each partition.
type ByPartition = [&'static str; 16];

macro_rules! by_partition {
    ($before:literal, $after:literal) => {
        by_partition!($before, $after, "0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "a" "b" "c" "d" "e" "f")
    };
    ($before:literal, $after:literal, $($digit:literal)*) => {
        [$(concat!($before, " message_hash.message_", $digit, " ", $after)),*]
    };
}

/// The row of a digest.
pub(super) const GET: ByPartition =
    by_partition!("SELECT codec, body, expires_at FROM", "WHERE digest = $1");

/// The row of a digest, kept from changing until the transaction ends.
pub(super) const LOCK: ByPartition = by_partition!(
    "SELECT codec, body, expires_at FROM",
    "WHERE digest = $1 FOR UPDATE"
);

/// Writes over the row of a digest.
pub(super) const UPDATE: ByPartition = by_partition!(
    "UPDATE",
    "SET codec = $2, body = $3, expires_at = $4 WHERE digest = $1"
);

/// Puts rows that are not there. Routing rows to their partitions opens only those it needs, so the
/// parent serves: one statement is one round trip, and all or nothing.
pub(super) const INSERT: &str = "INSERT INTO message_hash.message (digest, codec, body, expires_at) \
    SELECT * FROM UNNEST($1::bytea[], $2::smallint[], $3::bytea[], $4::bigint[]) \
    ON CONFLICT (digest) DO NOTHING RETURNING digest";

/// Marks a body as damaged and leaves it where it is, unless it was replaced meanwhile.
pub(super) const QUARANTINE: ByPartition = by_partition!(
    "UPDATE",
    "SET codec = codec + 16 WHERE digest = $1 AND codec = $2 AND body = $3"
);

/// Removes messages whose time has come.
pub(super) const EXPIRE: &str = "DELETE FROM message_hash.message WHERE digest IN \
    (SELECT digest FROM message_hash.message WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2) \
    AND expires_at <= $1";

/// Where deletions are told, to all replicas of the service.
pub(super) const DELETIONS: &str = "message_hash_deletions";

/// Tells a deletion when it is committed.
pub(super) const TELL: &str = "SELECT pg_notify('message_hash_deletions', $1)";

/// A page of rows.
pub(super) const PAGE: &str = "SELECT digest, codec, body, expires_at FROM message_hash.message \
    WHERE digest > $1 ORDER BY digest LIMIT $2";

/// How many rows there are: counted up to 100 000, and beyond what the planner takes for their number.
/// To count a large table takes longer than a call may.
pub(super) const COUNT: &str = "SELECT greatest( \
    (SELECT count(*) FROM (SELECT FROM message_hash.message LIMIT 100000) few), \
    (SELECT coalesce(sum(reltuples), 0)::bigint FROM pg_class WHERE oid IN \
        (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'message_hash.message'::regclass)))";

/// Removes a row that was moved, unless it changed meanwhile.
pub(super) const REMOVE: ByPartition = by_partition!(
    "DELETE FROM",
    "WHERE digest = $1 AND codec = $2 AND body = $3 AND expires_at IS NOT DISTINCT FROM $4"
);

/// Where a primary's log is: the timeline, and the place in bytes.
pub(super) const WRITTEN: &str = "SELECT \
    ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int, \
    (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";

/// How far a replica has come. The timeline is that of its last restart point: it may be the one
/// before, and then the primary is asked.
pub(super) const REPLAYED: &str = "SELECT (pg_control_checkpoint()).timeline_id, \
    coalesce((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0)";

/// The statement for the partition of a digest.
pub(super) fn of(statements: &ByPartition, digest: &Digest) -> &'static str {
    statements[usize::from(digest.as_bytes()[0] >> 4)]
}
