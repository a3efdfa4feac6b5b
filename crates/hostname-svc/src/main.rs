//! Command line of hostname-svc.

fn main() {}
