//! What the person at the terminal sees.

use std::{
    fs,
    io::{IsTerminal, Write, stdout},
    path::Path,
};

use anyhow::{Context, Result};
use testbed::Log;

/// Told apart on dark and on light ground.
const COLOURS: &[u8] = &[36, 33, 35, 32, 34];

/// Prints whole lines to standard output, in colour only on a terminal.
#[derive(Clone)]
pub(crate) struct Console {
    colour: bool,
}

impl Console {
    pub(crate) fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a convention of terminals, no setting of ours"
        )]
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = stdout().is_terminal() && !plain;
        Self { colour }
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

    fn prefix(&self, name: &str, number: usize) -> String {
        match COLOURS.get(number % COLOURS.len()) {
            Some(colour) if self.colour => format!("\x1b[{colour}m{name:<16} |\x1b[0m"),
            _ => format!("{name:<16} |"),
        }
    }
}

/// Writes every line of a store's log to `file`, which is begun anew. Stores have much to say of their
/// start, and take their orderly end for a row of errors.
pub(crate) fn keep_log(file: &Path, log: &Log) -> Result<()> {
    let open = || {
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::File::create(file)
    };
    let lines = open().with_context(|| format!("writing {}", file.display()))?;
    // A full disk is told by the store itself.
    log.follow(move |line| drop(writeln!(&lines, "{line}")));
    Ok(())
}

/// One write a line, so that lines of several processes do not mix. A reader that is gone is no reason to end.
fn print_line(line: &str) {
    let _ = stdout().write_all(format!("{line}\n").as_bytes());
}
