//! The workspace builds on a machine without `protoc`.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use testbed::{Scratch, workspace_root};

/// All that such a machine has: Rust, a C compiler, and what a shell needs.
const TOOLS: [&str; 3] = ["cc", "dirname", "sh"];

#[expect(
    clippy::disallowed_methods,
    reason = "the PATH of this machine, no setting of ours"
)]
fn found_on_path(tool: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap();
    let mut places = env::split_paths(&path).map(|dir| dir.join(tool));
    places
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("no {tool} on PATH"))
}

#[test]
fn without_a_protoc_on_path_the_build_brings_one() {
    let path = Scratch::new("no-protoc").unwrap();
    let cargo = Path::new(env!("CARGO"));
    symlink(cargo, path.path().join("cargo")).unwrap();
    symlink(cargo.with_file_name("rustc"), path.path().join("rustc")).unwrap();
    for tool in TOOLS {
        symlink(found_on_path(tool), path.path().join(tool)).unwrap();
    }
    let config = fs::read_to_string(workspace_root().join(".cargo/config.toml")).unwrap();
    assert!(config.contains(".cargo/protoc/protoc.sh"), "{config}");
    let output = Command::new(workspace_root().join(".cargo/protoc/protoc.sh"))
        .arg("--version")
        .env("PATH", path.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let version = String::from_utf8(output.stdout).unwrap();
    assert!(version.starts_with("libprotoc "), "{version}: {said}");
}
