//! What the testbed promises to the tests that stand on it.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod damage;
mod dependencies;
mod docs;
mod etcd;
mod fault_proxy;
mod openbao;
mod postgres;
mod processes;
mod protoc;
mod s3;
mod services;
mod stepped_clock;
mod up;
