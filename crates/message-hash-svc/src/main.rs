//! Command line of message-hash-svc.

fn main() {}
