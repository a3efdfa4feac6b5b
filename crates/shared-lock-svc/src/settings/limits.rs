//! What callers may ask for.

use service_kit::{
    duration::{GoDuration, LongDuration},
    settings,
};

use crate::locks::Rules;

settings! {
    /// What callers may ask for.
    pub struct LimitSettings {
        /// Longest life of a lease under `/v1`.
        pub max_ttl: LongDuration<1000> => Setting::env("MAX_TTL").default("24h").allowed("a duration from `1s`"),
        /// Longest wait for a lock under `/v1`.
        pub max_wait: GoDuration => Setting::env("MAX_WAIT").default("10m").allowed("a duration such as `10m`"),
        /// Requests of one holder that may wait at this replica at once; 0 is no limit.
        pub max_waiters_per_holder: usize => Setting::env("MAX_WAITERS_PER_HOLDER").default("10000").allowed("a number"),
        /// Locks that one holder may have at once, at all replicas, with those it asks for; 0 is no limit.
        pub max_locks_per_holder: usize => Setting::env("MAX_LOCKS_PER_HOLDER").default("0").allowed("a number"),
        /// Callers that may listen to events at this replica at once.
        pub max_event_streams: usize => Setting::env("MAX_EVENT_STREAMS").default("1000").allowed("a number"),
    }
}

impl LimitSettings {
    /// What the domain wants to know.
    pub fn rules(&self, token_epoch: Option<String>, go_replicas: bool) -> Rules {
        Rules {
            max_ttl: self.max_ttl.0,
            max_wait: self.max_wait.0,
            max_waiters: self.max_waiters_per_holder,
            max_locks: self.max_locks_per_holder,
            max_streams: self.max_event_streams,
            go_replicas,
            token_epoch,
        }
    }
}
