//! Runs the protoc that `protoc-bin-vendored` carries for this machine.
use std::{env, os::unix::process::CommandExt, process::Command};

fn main() {
    let protoc = protoc_bin_vendored::protoc_bin_path().expect("no protoc is carried for this machine");
    panic!("protoc did not start: {}", Command::new(protoc).args(env::args_os().skip(1)).exec());
}
