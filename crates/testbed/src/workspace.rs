//! Where the checkout is.

use std::path::{Path, PathBuf};

/// The root of the checkout that this crate was compiled in.
pub fn workspace_root() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.ancestors().nth(2).unwrap_or(crate_dir)
}

/// The git-ignored directory that `cargo clean` does not touch: servers, data of `just up`, scratch.
pub(crate) fn holdfast_dir() -> PathBuf {
    workspace_root().join(".holdfast")
}
