//! The process of a server that may be killed and started again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Process;

/// The process that runs at present, or ran last.
pub(crate) struct Slot(Mutex<Arc<Process>>);

impl Slot {
    pub(crate) fn new(process: Process) -> Self {
        Self(Mutex::new(Arc::new(process)))
    }

    pub(crate) fn current(&self) -> Arc<Process> {
        Arc::clone(&self.lock())
    }

    /// The one before is killed when nobody has it any more.
    pub(crate) fn replace(&self, process: Process) {
        *self.lock() = Arc::new(process);
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Process>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The verbs of every server whose field `slot` holds its process.
macro_rules! process_verbs {
    () => {
        /// Its process, for its number, its log and its signals.
        pub fn process(&self) -> std::sync::Arc<crate::Process> {
            self.slot.current()
        }

        /// SIGKILL.
        ///
        /// # Errors
        /// When it cannot be sent.
        pub fn kill(&self) -> anyhow::Result<()> {
            self.process().kill()
        }

        /// SIGSTOP: it accepts connections and says nothing.
        ///
        /// # Errors
        /// When it has ended.
        pub fn pause(&self) -> anyhow::Result<()> {
            self.process().pause()
        }

        /// SIGCONT.
        ///
        /// # Errors
        /// When it has ended.
        pub fn resume(&self) -> anyhow::Result<()> {
            self.process().resume()
        }
    };
}

pub(crate) use process_verbs;
