# Holdfast: `just up` runs it, `just test` proves it.

# In the dev profile: a release build takes far longer, and the tests go on from this one.
services := "--bin shared-lock-svc --bin hostname-svc --bin message-hash-svc"

[private]
default:
    @just --list --unsorted

# Run the three services here until Ctrl-C; `just up real` on a real etcd, OpenBao and PostgreSQL, `--first-port 9080` elsewhere
[group('run')]
[no-exit-message]
up *args:
    {{ if args =~ '(^| )real( |$)' { "crates/testbed/servers/install.sh --for-up" } else { "" } }}
    cargo build --locked --bin up {{ services }}
    @exec cargo run --locked --quiet --bin up -- {{ args }}

# End what `just up` runs
[group('run')]
down:
    @cargo run --locked --quiet --bin up -- down

# Install the etcd, OpenBao and versitygw that the tests and `just up real` start, and look for PostgreSQL
[group('test')]
servers:
    @crates/testbed/servers/install.sh

# Run every test, against real servers
[group('test')]
test *args: servers
    cargo build --locked --bins
    cargo test --locked --workspace --no-fail-fast {{ args }}

# Test one crate, e.g. `just test-crate lock-client`
[group('test')]
test-crate crate *args: servers
    cargo test --locked --package {{ crate }} {{ args }}

# Render the chart and check what it gives and what it refuses
[group('test')]
chart-test *args:
    deploy/helm/test.sh {{ args }}

# Measure the services beside their baselines, e.g. `just bench lease --seconds 60`; `just bench --help` says more
[group('measure')]
bench *args: servers
    cargo build --locked --release --bin shared-lock-svc --bin message-hash-svc --bin bench
    @exec target/release/bench {{ args }}

# Format the code
[group('check')]
fmt:
    cargo fmt --all

# Check the format
[group('check')]
fmt-check:
    cargo fmt --all --check

# Lint everything; warnings are errors
[group('check')]
lint:
    cargo clippy --locked --workspace --all-targets -- --deny warnings

# Build the documentation; warnings are errors
[group('check')]
doc:
    RUSTDOCFLAGS="--deny warnings --allow rustdoc::private-intra-doc-links" cargo doc --locked --workspace --no-deps --document-private-items

# Check licences and versions of all dependencies with cargo-deny, beyond what a test of testbed checks
[group('check')]
deny:
    cargo deny --locked check bans licenses sources

# Everything CI runs
[group('check')]
ci: fmt-check lint doc test chart-test
