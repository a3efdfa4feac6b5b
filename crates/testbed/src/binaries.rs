//! The shipped binaries, freshly built.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::workspace_root;

/// Builds a binary of this workspace and tells where it lies; once for each binary and process, so that no test ever runs
/// against yesterday's code.
///
/// It is built in the profile that the testbed itself was built in. No package is named: the crates are then compiled with the
/// features that the whole workspace asks for, the same for every binary.
///
/// # Errors
/// When it does not compile.
pub fn build(binary: &str) -> Result<PathBuf> {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    if let Some(path) = built.get(binary) {
        return Ok(path.clone());
    }
    let path = cargo_build(binary)?;
    built.insert(binary.to_owned(), path.clone());
    Ok(path)
}

fn cargo_build(binary: &str) -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--message-format=json-render-diagnostics",
        "--bin",
        binary,
    ]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo
        .current_dir(workspace_root())
        .stdin(Stdio::null())
        .output()
        .context("running cargo")?;
    ensure!(
        output.status.success(),
        "building {binary}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages
        .lines()
        .find_map(|message| executable_of(message, binary));
    executable.with_context(|| format!("cargo did not tell where it put {binary}"))
}

/// The path that one of cargo's messages tells, if it is about `binary`.
fn executable_of(message: &str, binary: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message["executable"].as_str()?;
    (message["target"]["name"] == binary).then(|| path.into())
}
