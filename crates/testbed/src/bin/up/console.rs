//! What the person at the terminal sees.

use std::{
    io::{IsTerminal, Write, stdout},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use testbed::Log;

/// Told apart on dark and on light ground.
const COLOURS: &[u8] = &[36, 33, 35, 32, 34];

/// Prints whole lines to standard output, in colour only on a terminal.
#[derive(Clone)]
pub(crate) struct Console {
    colour: bool,
    /// etcd and OpenBao take their orderly end for a row of errors; nobody should read those.
    stores_are_quiet: Arc<AtomicBool>,
}

impl Console {
    pub(crate) fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a convention of terminals, no setting of ours"
        )]
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = stdout().is_terminal() && !plain;
        Self {
            colour,
            stores_are_quiet: Arc::default(),
        }
    }

    /// Prints what the runner itself has to say.
    pub(crate) fn say(&self, text: &str) {
        for line in text.lines() {
            let line = if self.colour {
                format!("\x1b[1m{line}\x1b[0m")
            } else {
                line.to_owned()
            };
            print_line(&line);
        }
    }

    /// Prints every line of a service's log with its name before it; `number` chooses the colour.
    pub(crate) fn follow(&self, name: &str, number: usize, log: &Log) {
        let prefix = self.prefix(name, number);
        log.follow(move |line| print_line(&format!("{prefix} {line}")));
    }

    /// The same for a store, until it is told to end.
    pub(crate) fn follow_store(&self, name: &str, number: usize, log: &Log) {
        let (prefix, quiet) = (
            self.prefix(name, number),
            Arc::clone(&self.stores_are_quiet),
        );
        log.follow(move |line| {
            if !quiet.load(Ordering::Relaxed) {
                print_line(&format!("{prefix} {line}"));
            }
        });
    }

    /// From now on the stores are told to end.
    pub(crate) fn quieten_stores(&self) {
        self.stores_are_quiet.store(true, Ordering::Relaxed);
    }

    fn prefix(&self, name: &str, number: usize) -> String {
        match COLOURS.get(number % COLOURS.len()) {
            Some(colour) if self.colour => format!("\x1b[{colour}m{name:<16} |\x1b[0m"),
            _ => format!("{name:<16} |"),
        }
    }
}

/// One write a line, so that lines of several processes do not mix. A reader that is gone is no reason to end.
fn print_line(line: &str) {
    let _ = stdout().write_all(format!("{line}\n").as_bytes());
}
