#!/bin/sh
# The protoc of this build: the one from PATH, or else the one that a crate carries.
here=$(cd "$(dirname "$0")" && pwd)
if installed=$(command -v protoc); then
    exec "$installed" "$@"
fi
# The build that called us has set its own target, flags and wrappers: this one is for the host.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_TARGET_DIR RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
exec cargo run --quiet --locked --manifest-path "$here/Cargo.toml" --target-dir "$here/target" -- "$@"
