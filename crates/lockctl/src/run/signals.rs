//! The signals that are passed on to a command, and the one that says that a child ended.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// Signals of this process, taken from their defaults.
pub(crate) struct Signals {
    /// Those that end a program that does not expect them.
    ending: [(Signal, Stream); 4],
    others: [(Signal, Stream); 3],
    child: Stream,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        let to = |number: Signal| {
            let stream = signal(SignalKind::from_raw(number.as_raw()))?;
            Ok::<_, io::Error>((number, stream))
        };
        Ok(Self {
            ending: [
                to(Signal::INT)?,
                to(Signal::TERM)?,
                to(Signal::HUP)?,
                to(Signal::QUIT)?,
            ],
            others: [to(Signal::USR1)?, to(Signal::USR2)?, to(Signal::WINCH)?],
            child: signal(SignalKind::child())?,
        })
    }

    /// The number of the next signal that asks us to end.
    pub(crate) async fn ending(&mut self) -> u8 {
        let [a, b, c, d] = &mut self.ending;
        let signal = tokio::select! {
            _ = a.1.recv() => a.0,
            _ = b.1.recv() => b.0,
            _ = c.1.recv() => c.0,
            _ = d.1.recv() => d.0,
        };
        u8::try_from(signal.as_raw()).unwrap_or_default()
    }

    /// The next signal to pass on; `None` when a child ended.
    pub(crate) async fn next(&mut self) -> Option<Signal> {
        let ([a, b, c, d], [e, f, g]) = (&mut self.ending, &mut self.others);
        tokio::select! {
            _ = self.child.recv() => None,
            _ = a.1.recv() => Some(a.0),
            _ = b.1.recv() => Some(b.0),
            _ = c.1.recv() => Some(c.0),
            _ = d.1.recv() => Some(d.0),
            _ = e.1.recv() => Some(e.0),
            _ = f.1.recv() => Some(f.0),
            _ = g.1.recv() => Some(g.0),
        }
    }
}
