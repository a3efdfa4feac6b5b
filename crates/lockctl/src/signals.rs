//! The signals that end us or are passed on to a command, and the one that says that a child ended.

use std::fs;
use std::io;
use std::pin::pin;

use futures_util::future::select_all;
use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// Those that end a program that does not expect them.
const ENDING: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];
const OTHERS: [Signal; 3] = [Signal::USR1, Signal::USR2, Signal::WINCH];

/// Signals of this process, taken from their defaults. What whoever started us had us ignore stays ignored, by
/// us and by our command: of `nohup`, of a shell's background.
pub(crate) struct Signals {
    ending: Vec<(Signal, Stream)>,
    others: Vec<(Signal, Stream)>,
    child: Stream,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        let ignored = ignored();
        let to = |signals: &[Signal]| {
            let heard = signals.iter().filter(|signal| !is_in(ignored, **signal));
            let stream = |number: &Signal| {
                let stream = signal(SignalKind::from_raw(number.as_raw()))?;
                Ok::<_, io::Error>((*number, stream))
            };
            heard.map(stream).collect::<io::Result<Vec<_>>>()
        };
        Ok(Self {
            ending: to(&ENDING)?,
            others: to(&OTHERS)?,
            child: signal(SignalKind::child())?,
        })
    }

    /// The number of the next signal that asks us to end.
    pub(crate) async fn ending(&mut self) -> u8 {
        let signal = first(self.ending.iter_mut()).await;
        u8::try_from(signal.as_raw()).unwrap_or_default()
    }

    /// The next signal to pass on; `None` when a child ended.
    pub(crate) async fn next(&mut self) -> Option<Signal> {
        tokio::select! {
            _ = self.child.recv() => None,
            signal = first(self.ending.iter_mut().chain(&mut self.others)) => Some(signal),
        }
    }
}

/// The first of them to come; never, where there is none.
async fn first(streams: impl Iterator<Item = &mut (Signal, Stream)>) -> Signal {
    let waits = streams.map(|(signal, stream)| {
        Box::pin(async move {
            stream.recv().await;
            *signal
        })
    });
    let waits: Vec<_> = waits.collect();
    if waits.is_empty() {
        return std::future::pending().await;
    }
    let first = pin!(select_all(waits));
    first.await.0
}

/// Which signals are ignored, as [`/proc/self/status`](https://man7.org/linux/man-pages/man5/proc_pid_status.5.html)
/// tells it: a bit each. None where that cannot be read.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.map(|mask| u64::from_str_radix(mask.trim(), 16));
    mask.and_then(Result::ok).unwrap_or_default()
}

fn is_in(mask: u64, signal: Signal) -> bool {
    let bit = u32::try_from(signal.as_raw() - 1).unwrap_or(u32::MAX);
    mask.checked_shr(bit).is_some_and(|rest| rest & 1 == 1)
}
