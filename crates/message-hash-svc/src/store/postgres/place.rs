//! Which shard a digest lives on: rendezvous hashing with weights.
//!
//! Every bucket of digests scores every shard, and lives where its score is highest. A further shard
//! only takes buckets, and no other bucket moves
//! ([Schindelhauer and Schomaker 2005](https://doi.org/10.1145/1073970.1074008)).

use std::sync::Arc;

use crate::digest::Digest;
use crate::store::postgres::shard::Shard;

/// The first 12 bits of a digest.
const BUCKETS: u16 = 4096;

/// Shards, and the one that each bucket lives on.
pub(super) struct Places {
    pub(super) shards: Vec<Arc<Shard>>,
    by_bucket: Vec<usize>,
}

impl Places {
    pub(super) fn new(shards: Vec<Arc<Shard>>) -> Self {
        let weighed: Vec<(&str, f64)> = shards
            .iter()
            .map(|shard| (shard.name.as_str(), shard.weight))
            .collect();
        let by_bucket = (0..BUCKETS).map(|bucket| place(bucket, &weighed)).collect();
        Self { shards, by_bucket }
    }

    /// Where a digest lives.
    pub(super) fn of(&self, digest: &Digest) -> &Arc<Shard> {
        &self.shards[self.by_bucket[usize::from(bucket(digest))]]
    }
}

fn bucket(digest: &Digest) -> u16 {
    let [first, second, ..] = *digest.as_bytes();
    u16::from_be_bytes([first, second]) >> 4
}

/// The place of the shard with the highest score, `-weight / ln(u)`.
fn place(bucket: u16, shards: &[(&str, f64)]) -> usize {
    let score = |(name, weight): &(&str, f64)| -weight / uniform(bucket, name).ln();
    let best = shards
        .iter()
        .enumerate()
        .max_by(|(_, a), (_, b)| score(a).total_cmp(&score(b)));
    best.map_or(0, |(place, _)| place)
}

/// A number between 0 and 1 that the bucket and the name alone decide.
#[expect(clippy::cast_precision_loss, reason = "53 bits are all that is taken")]
fn uniform(bucket: u16, name: &str) -> f64 {
    let hash = Digest::of(&[&bucket.to_be_bytes(), name.as_bytes()].concat());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    let bits = u64::from_be_bytes(first) >> 11;
    (bits as f64 + 0.5) / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(shards: &[(&'static str, f64)]) -> Vec<&'static str> {
        (0..BUCKETS)
            .map(|bucket| shards[place(bucket, shards)].0)
            .collect()
    }

    fn share(places: &[&str], name: &str) -> f64 {
        let count = places.iter().filter(|place| **place == name).count();
        count as f64 / f64::from(BUCKETS)
    }

    #[test]
    fn a_further_shard_takes_its_share_and_moves_nothing_else() {
        let before = places(&[("a", 1.0), ("b", 1.0), ("c", 1.0)]);
        let after = places(&[("d", 1.0), ("c", 1.0), ("b", 1.0), ("a", 1.0)]);
        for (before, after) in before.iter().zip(&after) {
            assert!(after == before || *after == "d");
        }
        for name in ["a", "b", "c", "d"] {
            assert!((share(&after, name) - 0.25).abs() < 0.03, "{name}");
        }
    }

    #[test]
    fn a_shard_has_as_much_as_it_weighs() {
        let places = places(&[("small", 1.0), ("large", 3.0)]);
        assert!((share(&places, "large") - 0.75).abs() < 0.03);
    }

    #[test]
    fn the_places_never_change_from_one_version_to_the_next() {
        let places = places(&[("a", 1.0), ("b", 2.0)]);
        let digest = Digest::of(places.concat().as_bytes()).to_string();
        assert_eq!(&digest[..16], "64f8779313c7c5a0");
    }
}
