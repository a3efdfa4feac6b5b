//! The locks there are: from the view, once it shows all that was done before the question.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{
    Core,
    fault::Fault,
    inspect::waiter_view,
    sight::{Hold, Waiting},
};
use crate::lease::{LockKey, LockPage, LockView, PageRequest};

/// A lock of a page.
pub(super) struct Listed {
    pub(super) key: LockKey,
    pub(super) holds: Vec<Hold>,
    pub(super) waiting: Vec<Waiting>,
}

impl Core {
    /// One page of locks, each as it stood at one moment.
    pub(super) async fn list(self: &Arc<Self>, page: &PageRequest) -> Result<LockPage, Fault> {
        self.catch_up().await?;
        let (listed, more) = self.view.page(page);
        let mut shown: Vec<_> = listed
            .iter()
            .map(|lock| (lock.key.clone(), LockView::default()))
            .collect();
        let mut showing = JoinSet::new();
        for (place, lock) in listed.into_iter().enumerate() {
            let core = Arc::clone(self);
            showing.spawn(async move {
                let waiters = lock.waiting.into_iter().map(waiter_view).collect();
                let holders = core.holder_views(lock.holds).await?;
                Ok::<_, Fault>((place, LockView { holders, waiters }))
            });
        }
        while let Some(done) = showing.join_next().await {
            let (place, view) = done.map_err(|_| Fault::unreachable("the store is closed"))??;
            shown[place].1 = view;
        }
        Ok(LockPage { locks: shown, more })
    }
}
