//! How often each caller asked for what is not there, lately.
//!
//! Only the authority of a shared store can say that there is nothing, so whoever asks for random
//! digests would put the load of all of them on it. Counted is what was asked and not found, after the
//! answer: whoever asks for what is there is never slowed.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Callers that are remembered; beyond that, those who may ask as often as anybody are forgotten.
const MOST_CALLERS: usize = 100_000;

/// How often a caller may miss: so many times a second, and as many at once.
pub(super) struct Misses {
    rate: f64,
    by_caller: Mutex<HashMap<IpAddr, Bucket>>,
}

/// What was left of a second's misses at some moment.
struct Bucket {
    left: f64,
    at: Instant,
}

impl Misses {
    pub(super) fn new(rate: u32) -> Self {
        Self {
            rate: f64::from(rate),
            by_caller: Mutex::default(),
        }
    }

    /// Whether `caller` may miss once more; if not it may within a second.
    pub(super) fn may(&self, caller: IpAddr) -> bool {
        let by_caller = self
            .by_caller
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let bucket = by_caller.get(&network(caller));
        bucket.is_none_or(|bucket| bucket.left_now(self.rate) >= 1.0)
    }

    /// `caller` asked for something that is not there.
    pub(super) fn count(&self, caller: IpAddr) {
        let mut by_caller = self
            .by_caller
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if by_caller.len() >= MOST_CALLERS {
            by_caller.retain(|_, bucket| bucket.left_now(self.rate) < self.rate);
        }
        let at = Instant::now();
        let left = self.rate;
        let bucket = by_caller
            .entry(network(caller))
            .or_insert(Bucket { left, at });
        let left = (bucket.left_now(self.rate) - 1.0).max(0.0);
        *bucket = Bucket { left, at };
    }
}

impl Bucket {
    fn left_now(&self, rate: f64) -> f64 {
        (self.left + self.at.elapsed().as_secs_f64() * rate).min(rate)
    }
}

/// Whom an address stands for: with IPv6 a caller has all of a /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn whoever_misses_too_often_waits_and_others_do_not() {
        let misses = Misses::new(2);
        let (flood, other) = (address("2001:db8::1"), address("2001:db8:0:1::1"));
        for _ in 0..2 {
            assert!(misses.may(flood));
            misses.count(flood);
        }
        assert!(!misses.may(address("2001:db8::2")));
        assert!(misses.may(other));
    }

    #[test]
    fn however_many_look_ups_were_under_way_it_may_again_after_a_second() {
        let misses = Misses::new(2);
        let flood = address("::ffff:192.0.2.1");
        for _ in 0..1000 {
            misses.count(flood);
        }
        assert!(!misses.may(address("192.0.2.1")));
        let mut by_caller = misses.by_caller.lock().unwrap();
        let bucket = by_caller.get_mut(&network(flood)).unwrap();
        bucket.at -= Duration::from_secs(1);
        drop(by_caller);
        assert!(misses.may(flood));
    }
}
