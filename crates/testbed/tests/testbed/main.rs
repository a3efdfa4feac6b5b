//! What the testbed promises to the tests that stand on it.

mod etcd;
mod fault_proxy;
mod openbao;
mod processes;
