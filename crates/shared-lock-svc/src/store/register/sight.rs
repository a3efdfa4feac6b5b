//! What this replica has seen of a document, and since when: the only clock that ends a life is our own.

use std::{collections::HashMap, time::Duration};

use super::document::Document;
use crate::state::Moment;

/// When each beat of a document was seen first.
#[derive(Debug, Default)]
pub(super) struct Sight {
    since: HashMap<String, Moment>,
}

impl Sight {
    /// A life, and what two clocks may differ by while it runs: a hundredth, and what a write takes to
    /// be noticed.
    pub(super) fn with_margin(life: Duration) -> Duration {
        life + life / 100 + Duration::from_millis(250)
    }

    /// Looks at a document that was read, or written, before `now`.
    pub(super) fn see(&mut self, document: &Document, now: Moment) {
        let mut since = HashMap::new();
        for beat in document.beats() {
            let first = self.since.get(beat).copied().unwrap_or(now);
            since.insert(beat.to_owned(), first);
        }
        self.since = since;
    }

    /// When what has this beat is over.
    pub(super) fn end_of(&self, beat: &str, life: Duration, now: Moment) -> Moment {
        self.since.get(beat).copied().unwrap_or(now) + life
    }
}
