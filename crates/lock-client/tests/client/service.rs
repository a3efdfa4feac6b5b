//! The client and the real shared-lock-svc, as its shipped binary.
