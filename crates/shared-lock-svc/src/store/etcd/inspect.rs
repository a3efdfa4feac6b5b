//! How a lock stands, for people to see.

use std::{sync::Arc, time::Duration};

use etcd_client::{GetOptions, Txn, TxnOp, TxnOpResponse};
use tokio::task::JoinSet;

use super::{
    Core,
    acquire::fencing_token,
    fault::Fault,
    keys::LockPath,
    look::read_holds,
    records,
    sight::{Hold, Waiting, by_place},
};
use crate::lease::{HolderView, LeaseId, LockView, WaiterView};

/// Holders whose leases are looked at; those of the others are not told.
const LEASES: usize = 64;

impl Core {
    /// Who holds and who waits, by one linearizable read; the holders in the order of their grants.
    pub(super) async fn view_of(self: &Arc<Self>, path: &LockPath) -> Result<LockView, Fault> {
        let prefix = GetOptions::new().with_prefix();
        let look = Txn::new().and_then([
            TxnOp::get(path.holder(), Some(GetOptions::new().with_keys_only())),
            TxnOp::get(path.meta(), None),
            TxnOp::get(path.others(), Some(prefix)),
            TxnOp::get(path.queue(), Some(by_place())),
        ]);
        let answer = self.etcd.look(look).await?;
        let mut holds = read_holds(&answer.responses)?;
        holds.sort_by_key(Hold::turn);
        let Some(TxnOpResponse::Get(queue)) = answer.responses.last() else {
            return Err(Fault::Lost("etcd answered what it was not asked".into()));
        };
        let waiters = queue
            .kvs()
            .iter()
            .map(|kv| Waiting::read(kv).map(waiter_view));
        Ok(LockView {
            waiters: waiters.collect::<Result<_, _>>()?,
            holders: self.holder_views(holds).await?,
        })
    }

    pub(super) async fn holder_views(
        self: &Arc<Self>,
        holds: Vec<Hold>,
    ) -> Result<Vec<HolderView>, Fault> {
        let mut glances = JoinSet::new();
        for (place, hold) in holds.iter().enumerate().take(LEASES) {
            let (core, lease) = (Arc::clone(self), hold.lease);
            if lease != LeaseId(0) {
                glances.spawn(async move { (place, core.lease_glance(lease).await) });
            }
        }
        let mut lives = vec![None; holds.len()];
        while let Some(glance) = glances.join_next().await {
            if let Ok((place, life)) = glance {
                lives[place] = life;
            }
        }
        let holds = holds.into_iter().zip(lives);
        holds.map(|(hold, life)| holder_view(&hold, life)).collect()
    }
}

fn holder_view(hold: &Hold, life: Option<(Duration, Duration)>) -> Result<HolderView, Fault> {
    let (remaining, ttl) = life.unzip();
    let meta = hold.meta.as_ref();
    Ok(HolderView {
        mode: hold.mode,
        fencing_token: fencing_token(hold.token)?,
        held_for: meta.map(|meta| records::ago(meta.since_ms)),
        ttl: meta.map(|meta| Duration::from_millis(meta.ttl_ms)).or(ttl),
        remaining,
        holder: meta.map(|meta| meta.holder.clone()),
        metadata: meta.map(|meta| meta.metadata.clone()).unwrap_or_default(),
    })
}

pub(super) fn waiter_view(waiting: Waiting) -> WaiterView {
    let meta = waiting.waiter.meta;
    WaiterView {
        waiting_for: Some(records::ago(meta.since_ms)),
        holder: meta.holder,
        mode: meta.mode,
    }
}
