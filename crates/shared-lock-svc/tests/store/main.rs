//! The stores: one contract for all of them, and what each promises beyond it.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod contract;
mod embedded;
mod etcd;
mod memory;
mod register;
mod register_simulation;
#[path = "register_world/world.rs"]
mod register_world;
mod s3;
#[path = "sim/sim.rs"]
mod sim;
mod simulation;
mod vault;
