//! Writes to a table from many tasks until it is killed, and tells what was acknowledged.
//!
//! Each job takes the next number of one shared counter and writes its own row under it, so
//! that counter and rows tell afterwards whether a job was kept whole, and in which order.

use std::io::Write;
use std::process::ExitCode;

use durable::{Durable, Options, WriteError};

const WRITERS: usize = 16;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        return ExitCode::from(2);
    };
    let table = match Durable::open(&dir, Options::new("durable-test", 1)) {
        Ok(table) => table,
        Err(refused) => {
            eprintln!("{refused}");
            return ExitCode::FAILURE;
        }
    };
    say("open");
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write_forever(table.clone(), writer)))
        .collect();
    for writer in writers {
        let _ = writer.await;
    }
    ExitCode::FAILURE
}

async fn write_forever(table: Durable, writer: usize) {
    loop {
        let outcome = table.transact(move |tx| next_number(tx, writer)).await;
        match outcome {
            Ok(number) => say(&format!("{number} {writer}")),
            Err(failed) => {
                eprintln!("{failed}");
                return;
            }
        }
    }
}

fn next_number(tx: &mut durable::Transaction<'_>, writer: usize) -> Result<u64, WriteError> {
    let last = tx.get("counter", b"last")?;
    let last = last
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_be_bytes);
    let number = last + 1;
    tx.put("counter", b"last", &number.to_be_bytes());
    tx.put("rows", &number.to_be_bytes(), writer.to_string().as_bytes());
    Ok(number)
}

/// One line to whoever started this; ends the process when nobody listens any more.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}
