//! The committing thread: whatever waits is run as one group and committed by one sync.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use redb::{Database, TableDefinition};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::Shared;
use crate::error::{OpenError, WriteError};
use crate::guard::guarded;
use crate::options::{Commit, Options};
use crate::recovery;
use crate::snapshot::{Bytes, Snapshot};
use crate::transaction::{Transaction, Writes};

/// What the handles send to the committing thread.
pub(crate) enum Message {
    Job(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// A closure and the caller who waits for it, with their types forgotten.
pub(crate) trait Job: Send {
    /// Runs the closure and hands over what it wrote, if that is to be kept.
    fn run(&mut self, view: Transaction<'_>) -> Option<Writes>;
    /// Answers the caller, who may have gone.
    fn answer(self: Box<Self>, committed: Result<(), WriteError>);
}

/// One call of [`Durable::transact`](crate::Durable::transact).
pub(crate) struct Call<F, T, E> {
    job: Option<F>,
    outcome: Option<Result<T, E>>,
    caller: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Call<F, T, E> {
    pub(crate) fn new(job: F, caller: oneshot::Sender<Result<T, E>>) -> Self {
        Self {
            job: Some(job),
            outcome: None,
            caller,
        }
    }
}

impl<F, T, E> Job for Call<F, T, E>
where
    F: FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<WriteError> + Send,
{
    fn run(&mut self, mut view: Transaction<'_>) -> Option<Writes> {
        let job = self.job.take()?;
        // Unwind safe: after a panic the view is thrown away, and the closure is gone.
        let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| job(&mut view))) else {
            self.outcome = Some(Err(WriteError::Panicked.into()));
            return None;
        };
        match view.finish() {
            Ok(writes) => {
                let keep = outcome.is_ok();
                self.outcome = Some(outcome);
                keep.then_some(writes)
            }
            Err(fault) => {
                self.outcome = Some(Err(WriteError::Read(fault).into()));
                None
            }
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), WriteError>) {
        let outcome = match committed {
            Ok(()) => self
                .outcome
                .unwrap_or_else(|| Err(WriteError::Closed.into())),
            Err(failed) => Err(failed.into()),
        };
        let _ = self.caller.send(outcome);
    }
}

/// The thread that runs the jobs and commits what they wrote.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Message>,
    options: Options,
}

impl Committer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Message>,
        options: Options,
    ) -> Self {
        Self {
            shared,
            queue,
            options,
        }
    }

    pub(crate) fn spawn(self) -> Result<(), OpenError> {
        let dir = self.shared.opened.dir.clone();
        thread::Builder::new()
            .name("durable-commit".to_owned())
            .spawn(move || self.work())
            .map_err(OpenError::io("start the committing thread for", &dir))?;
        Ok(())
    }

    /// Works until every handle is gone or one of them closed the table, and the queue is empty.
    fn work(mut self) {
        let mut closers = Vec::new();
        while let Some(message) = self.queue.blocking_recv() {
            match message {
                Message::Job(first) => self.one_group(first, &mut closers),
                Message::Close(closer) => closers.push(closer),
            }
            if !closers.is_empty() {
                self.queue.close();
            }
        }
        // Whoever closed the table may open it again as soon as it is told.
        drop(self);
        for closer in closers {
            let _ = closer.send(());
        }
    }

    /// Runs `first` and whatever else waits, up to the bounds, commits, then answers all.
    fn one_group(&mut self, first: Box<dyn Job>, closers: &mut Vec<oneshot::Sender<()>>) {
        let mut waiting = Vec::new();
        let mut writes = Writes::default();
        let mut committed = match self.view() {
            Ok(snapshot) => {
                let mut next = Some(first);
                while let Some(mut job) = next {
                    if let Some(kept) = job.run(Transaction::new(&snapshot, &writes)) {
                        writes.absorb(kept);
                    }
                    waiting.push(job);
                    let is_full = waiting.len() >= self.options.max_group_jobs
                        || writes.bytes() >= self.options.max_group_bytes;
                    next = if is_full {
                        None
                    } else {
                        self.waiting_job(closers)
                    };
                }
                Ok(())
            }
            Err(refused) => {
                waiting.push(first);
                Err(refused)
            }
        };
        if committed.is_ok() && !writes.is_empty() {
            committed = self.commit(&writes, waiting.len());
        }
        for job in waiting {
            job.answer(committed.clone());
        }
    }

    /// The next job, if one waits.
    fn waiting_job(&mut self, closers: &mut Vec<oneshot::Sender<()>>) -> Option<Box<dyn Job>> {
        match self.queue.try_recv().ok()? {
            Message::Job(job) => Some(job),
            Message::Close(closer) => {
                closers.push(closer);
                None
            }
        }
    }

    fn view(&self) -> Result<Snapshot, WriteError> {
        if *self.shared.poisoned.borrow() {
            return Err(WriteError::Poisoned);
        }
        Snapshot::of(&self.shared.opened.database).map_err(WriteError::Read)
    }

    fn commit(&self, writes: &Writes, jobs: usize) -> Result<(), WriteError> {
        let opened = &self.shared.opened;
        let started = Instant::now();
        // A panic inside redb leaves the file as unknown as a failed sync does.
        let outcome = guarded(|| write_and_sync(&opened.database, writes, self.quick_repair()));
        let rows = outcome.map_err(|cause| {
            self.poison(&cause.to_string());
            WriteError::Poisoned
        })?;
        if let Some(on_commit) = &self.options.on_commit {
            let commit = Commit {
                jobs,
                rows,
                bytes: writes.bytes(),
                took: started.elapsed(),
            };
            // Whoever counts must not end the thread that everybody's writes wait for.
            let _ = catch_unwind(AssertUnwindSafe(|| on_commit(&commit)));
        }
        Ok(())
    }

    /// Leaves the mark before anybody learns of the failure, so that whoever ends the process
    /// because of it finds the mark at the next start.
    fn poison(&self, reason: &str) {
        let dir = &self.shared.opened.dir;
        error!(dir = %dir.display(), reason, "commit failed, the store needs a restart: {reason}");
        if let Err(unmarked) = recovery::mark_failed(dir, reason) {
            error!(dir = %dir.display(), error = %unmarked, "the failed commit could not be marked");
        }
        self.shared.poisoned.send_replace(true);
    }

    fn quick_repair(&self) -> bool {
        let file: PathBuf = recovery::table_file(&self.shared.opened.dir);
        std::fs::metadata(file).is_ok_and(|it| it.len() < self.options.quick_repair_below)
    }
}

/// Returns how many rows it wrote.
fn write_and_sync(
    database: &Database,
    writes: &Writes,
    quick_repair: bool,
) -> Result<usize, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(quick_repair);
    let mut count = 0;
    for (name, rows) in writes.tables() {
        let mut table = transaction.open_table(TableDefinition::<Bytes, Bytes>::new(name))?;
        for (key, value) in rows {
            match value {
                Some(value) => drop(table.insert(key.as_slice(), value.as_slice())?),
                None => drop(table.remove(key.as_slice())?),
            }
        }
        count += rows.len();
    }
    transaction.commit()?;
    Ok(count)
}
