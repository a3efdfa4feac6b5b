//! Life beside replicas of tentens-tech/shared-lock.

use service_kit::{settings, settings::Flag};

settings! {
    /// Replicas of tentens-tech/shared-lock beside ours.
    pub struct CompatSettings {
        /// Whether some run on the same etcd: then the modes `shared` and `permit`, which they do not respect, are refused.
        pub go_replicas: Flag => Setting::env("COMPAT_GO_REPLICAS").default("false").allowed("`true` or `false`"),
    }
}
