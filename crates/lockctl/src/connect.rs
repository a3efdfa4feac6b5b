//! The client that the common options ask for.

use std::time::Duration;

use lock_client::{ClientOptions, LockClient, TlsOptions};

use crate::cli::{Connection, Wire};
use crate::exit::{Failure, USAGE};

/// How long to wait at the end for what was given up half-way.
const CLOSING: Duration = Duration::from_secs(2);

/// A client of the native wire; it speaks it alone.
pub(crate) fn native(connection: &Connection) -> Result<LockClient, Failure> {
    match connection.wire {
        Wire::V1 => client(connection),
        Wire::Lease => Err(Failure::new(
            USAGE,
            "the wire `lease` does run, acquire, keepalive and doctor, and nothing else",
        )),
    }
}

/// A client, for whichever wire.
pub(crate) fn client(connection: &Connection) -> Result<LockClient, Failure> {
    Ok(LockClient::new(options(connection))?)
}

pub(crate) fn options(connection: &Connection) -> ClientOptions {
    let holder = connection.holder.clone().unwrap_or_else(this_process);
    ClientOptions {
        request_timeout: connection.timeout,
        tls: TlsOptions {
            ca_file: connection.tls_ca.clone(),
            cert_file: connection.tls_cert.clone(),
            key_file: connection.tls_key.clone(),
        },
        bearer_token_file: connection.bearer_token_file.clone(),
        ..ClientOptions::new(connection.url.iter().cloned(), holder)
    }
}

/// Waits until what was given up half-way is given back.
pub(crate) async fn close(client: LockClient) {
    client.close(CLOSING).await;
}

fn this_process() -> String {
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy();
    format!("{machine}:{}", std::process::id())
}
