//! What the person at the terminal sees.

use std::io::{IsTerminal, Write, stdout};

use testbed::Log;

/// Told apart on dark and on light ground.
const COLOURS: &[u8] = &[36, 33, 35, 32, 34];

/// Prints whole lines to standard output, in colour only on a terminal.
#[derive(Clone, Copy)]
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
        Self {
            colour: stdout().is_terminal() && !plain,
        }
    }

    /// Prints what the runner itself has to say.
    pub(crate) fn say(self, text: &str) {
        for line in text.lines() {
            let line = if self.colour {
                format!("\x1b[1m{line}\x1b[0m")
            } else {
                line.to_owned()
            };
            print_line(&line);
        }
    }

    /// Prints every line of a log with the name of its process before it; `number` chooses the colour.
    pub(crate) fn follow(self, name: &str, number: usize, log: &Log) {
        let (before, after) = match COLOURS.get(number % COLOURS.len()) {
            Some(colour) if self.colour => (format!("\x1b[{colour}m"), "\x1b[0m"),
            _ => (String::new(), ""),
        };
        let prefix = format!("{before}{name:<16} |{after}");
        log.follow(move |line| print_line(&format!("{prefix} {line}")));
    }
}

/// One write a line, so that lines of several processes do not mix. A reader that is gone is no reason to end.
fn print_line(line: &str) {
    let _ = stdout().write_all(format!("{line}\n").as_bytes());
}
