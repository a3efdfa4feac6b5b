//! How long an answer may take.

use std::time::{Duration, Instant};

use crate::app::Answer;

/// A dependency that refuses is told within a second; the rest is the way here and back.
pub(crate) const REFUSED: Duration = Duration::from_millis(1500);
/// One that is silent within two.
pub(crate) const SILENT: Duration = Duration::from_millis(2700);

/// Calls, and checks that the answer came in time: the quickest of three, since the machine may be busy
/// with other things. What is called must answer the same each time.
pub(crate) async fn within(limit: Duration, call: impl AsyncFn() -> Answer) -> Answer {
    let mut times = Vec::new();
    loop {
        let started = Instant::now();
        let answer = call().await;
        times.push(started.elapsed());
        if times.iter().any(|took| *took < limit) {
            return answer;
        }
        assert!(times.len() < 3, "it took {times:?}: {answer:?}");
    }
}
