//! The crate as a package: its README is its crate doc, and it packs.

use std::fs;
use std::process::Command;

use testbed::{Scratch, workspace_root};

#[test]
fn the_readme_is_the_crate_doc() {
    let dir = workspace_root().join("crates/lock-client");
    let source = fs::read_to_string(dir.join("src/lib.rs")).unwrap();
    let doc = source.lines().filter_map(|line| line.strip_prefix("//!"));
    let doc = doc.map(|line| line.strip_prefix(' ').unwrap_or(line));
    // What rustdoc hides of an example.
    let shown = doc.filter(|line| !line.starts_with("# "));
    let expected = shown.fold("# lock-client\n\n".to_owned(), |all, line| {
        all + line + "\n"
    });
    let readme = fs::read_to_string(dir.join("README.md")).unwrap();
    assert!(
        readme == expected,
        "crates/lock-client/README.md is to be:\n{expected}"
    );
}

#[test]
fn it_packs_with_its_readme_and_without_its_tests_needs() {
    let dir = Scratch::new("package").unwrap();
    let cargo = Command::new(env!("CARGO"))
        .args(["package", "--package", "lock-client", "--no-verify"])
        .args(["--allow-dirty", "--offline", "--target-dir"])
        .arg(dir.path())
        .current_dir(workspace_root())
        .output()
        .unwrap();
    assert!(
        cargo.status.success(),
        "{}",
        String::from_utf8_lossy(&cargo.stderr)
    );
    let packed = format!("package/lock-client-{}.crate", env!("CARGO_PKG_VERSION"));
    let unpack = Command::new("tar")
        .args(["-x", "-z", "--strip-components=1", "-f", &packed])
        .current_dir(dir.path())
        .status();
    assert!(unpack.unwrap().success());
    assert!(dir.path().join("README.md").exists() && dir.path().join("src/lib.rs").exists());
    let manifest = fs::read_to_string(dir.path().join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("testbed"), "{manifest}");
}
