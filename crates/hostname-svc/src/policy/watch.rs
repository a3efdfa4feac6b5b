//! Reads the file of policies again when it changes.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use prometheus::IntCounterVec;
use tokio::time::sleep;

use super::{Policies, file};

/// How often it is looked at. By its content: a mounted ConfigMap changes by a symbolic link.
const INTERVAL: Duration = Duration::from_secs(2);

/// A file of policies, as it was last seen.
pub struct PolicyFile {
    path: PathBuf,
    seen: Result<String, String>,
    policies: Policies,
}

impl PolicyFile {
    pub(super) fn new(path: PathBuf, text: String, policies: Policies) -> Self {
        Self {
            path,
            seen: Ok(text),
            policies,
        }
    }

    /// Follows the file. One that cannot be used is told once, and changes nothing.
    pub async fn follow(mut self, reloads: IntCounterVec) -> Infallible {
        loop {
            sleep(INTERVAL).await;
            let path = self.path.clone();
            let text = tokio::task::spawn_blocking(move || text_of(&path)).await;
            let text = text.unwrap_or_else(|error| Err(error.to_string()));
            if text == self.seen {
                continue;
            }
            let name = self.path.display();
            match text.clone().and_then(|text| file::parse(&text)) {
                Ok(rules) => {
                    let count = rules.len();
                    self.policies.replace(rules);
                    reloads.with_label_values(&["loaded"]).inc();
                    tracing::info!(policy.rules = count, "policies were read again from {name}");
                }
                Err(wrong) => {
                    reloads.with_label_values(&["refused"]).inc();
                    tracing::warn!(
                        "{name} cannot be used, and the policies stay as they are: {wrong}"
                    );
                }
            }
            self.seen = text;
        }
    }
}

pub(super) fn text_of(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| error.to_string())
}
