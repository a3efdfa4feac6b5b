//! What a cycle makes of a store that denies, asks for a pause, or shows what nobody can read.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
};

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::{
    allocator::world::{fence, job, owner, prefix},
    store::Child,
};

const PACE: Pace = Pace {
    parallel: 8,
    silence: Duration::from_secs(2),
};
/// Longer than anything here takes.
const BUDGET: Duration = Duration::from_secs(30);

/// Documents in memory, and what the next writes below a folder are answered instead.
#[derive(Default)]
struct Scripted {
    documents: Mutex<HashMap<DocumentPath, (u64, Value)>>,
    answers: Mutex<VecDeque<(&'static str, StoreError)>>,
    calls: Mutex<Vec<Instant>>,
}

impl Scripted {
    fn instead(self, folder: &'static str, errors: impl IntoIterator<Item = StoreError>) -> Self {
        let answers = errors.into_iter().map(|error| (folder, error));
        self.answers.lock().unwrap().extend(answers);
        self
    }

    fn with(self, path: DocumentPath, document: Value) -> Self {
        self.documents.lock().unwrap().insert(path, (1, document));
        self
    }
}

#[async_trait]
impl DocumentStore for Scripted {
    async fn read(&self, path: &DocumentPath) -> Result<Read<Value>, StoreError> {
        self.calls.lock().unwrap().push(Instant::now());
        Ok(match self.documents.lock().unwrap().get(path).cloned() {
            Some((version, data)) => Read::Present { version, data },
            None => Read::Absent,
        })
    }

    async fn write(
        &self,
        path: &DocumentPath,
        cas: u64,
        data: &Value,
    ) -> Result<Write, StoreError> {
        self.calls.lock().unwrap().push(Instant::now());
        let mut answers = self.answers.lock().unwrap();
        if let Some((_, error)) =
            answers.pop_front_if(|(folder, _)| path.as_str().starts_with(*folder))
        {
            return Err(error);
        }
        let mut documents = self.documents.lock().unwrap();
        if documents.get(path).map_or(0, |(version, _)| *version) != cas {
            return Ok(Write::Mismatch);
        }
        documents.insert(path.clone(), (cas + 1, data.clone()));
        Ok(Write::Written)
    }

    async fn list(&self, _: &DocumentPath) -> Result<Vec<Child>, StoreError> {
        Ok(Vec::new())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn away(&self) -> Arc<StoreError> {
        std::future::pending().await
    }
}

/// Runs a cycle for these owners; what each was told, how it ended, and how long it took.
async fn run(
    store: &Arc<Scripted>,
    names: &[&str],
) -> (HashMap<u64, Answer>, Result<End, AllocateError>, Duration) {
    let jobs = (0..).zip(names).map(|(id, name)| job(id, name, 1));
    let mut cycle = Cycle::new(prefix(), Some(fence(1)), jobs.collect(), None, false);
    let store = Arc::clone(store) as Arc<dyn DocumentStore>;
    let mut told = HashMap::new();
    let started = Instant::now();
    let hear = |id, answer| drop(told.insert(id, answer));
    let (prefix, deadline) = (prefix(), started + BUDGET);
    let end = drive(&mut cycle, &store, &prefix, PACE, deadline, hear).await;
    (told, end, started.elapsed())
}

fn denied() -> StoreError {
    StoreError::Denied(anyhow::anyhow!("permission denied"))
}

fn busy(seconds: u64) -> StoreError {
    StoreError::Busy {
        retry_after: Duration::from_secs(seconds),
    }
}

fn is_named(answer: Option<&Answer>, number: u64) -> bool {
    matches!(answer, Some(Answer::Named(records)) if records[0].counter.get() == number)
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_denied_while_nothing_is_seen_there_is_made_again() {
    for folder in ["stems/", "hosts/"] {
        let store = Scripted::default().instead(folder, [denied(), denied(), denied()]);
        let (told, end, took) = run(&Arc::new(store), &["a"]).await;
        assert!(matches!(end, Ok(End::Settled(_))), "{folder}: {end:?}");
        assert!(is_named(told.get(&0), 1), "{folder}: {told:?}");
        assert!(took < PACE.silence);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_denied_for_good_is_refused_when_patience_is_over() {
    let store = Scripted::default().instead("hosts/", (0..10_000).map(|_| denied()));
    let (told, end, took) = run(&Arc::new(store), &["a"]).await;
    let Err(AllocateError::Store(error)) = end else {
        panic!("{end:?}");
    };
    assert!(matches!(*error, StoreError::Denied(_)), "{error:?}");
    assert!(told.is_empty());
    assert!(took < PACE.silence + Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_asks_for_a_pause_is_left_alone_for_so_long() {
    let store = Arc::new(Scripted::default().instead("counters/", [busy(7), busy(3)]));
    let (told, end, took) = run(&store, &["a", "b"]).await;
    assert!(matches!(end, Ok(End::Settled(_))), "{end:?}");
    assert!(is_named(told.get(&0), 1) && is_named(told.get(&1), 2));
    assert!((10..12).contains(&took.as_secs()), "{took:?}");
    let calls = store.calls.lock().unwrap().clone();
    let mut pauses: Vec<_> = calls
        .windows(2)
        .map(|it| (it[1] - it[0]).as_secs())
        .collect();
    pauses.retain(|seconds| *seconds > 0);
    assert_eq!(pauses, [7, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_longer_than_the_time_that_is_left_is_told_at_once() {
    let store = Scripted::default().instead("counters/", [busy(60)]);
    let (_, end, took) = run(&Arc::new(store), &["a"]).await;
    let Err(AllocateError::Store(error)) = end else {
        panic!("{end:?}");
    };
    assert!(
        matches!(*error, StoreError::Busy { retry_after } if retry_after.as_secs() == 60),
        "{error:?}"
    );
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_document_cannot_be_read_fails_its_own_caller_alone() {
    let path = layout::idem(owner("a").key().unwrap());
    let store = Scripted::default().with(path, json!({ "format": 9 }));
    let (told, end, _) = run(&Arc::new(store), &["a", "b"]).await;
    assert!(matches!(end, Ok(End::Settled(_))), "{end:?}");
    assert!(matches!(told.get(&0), Some(Answer::Unreadable(why)) if why.contains("format 9")));
    assert!(is_named(told.get(&1), 1), "{told:?}");
}
