//! Command line of shared-lock-svc.

fn main() {}
