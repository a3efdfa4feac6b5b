//! How a lock stands, for people to see.

use std::time::Duration;

use etcd_client::{GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};

use super::{
    Core,
    acquire::fencing_token,
    fault::Fault,
    keys::LockPath,
    records::{self, Meta},
    sight::{HolderKey, Waiting, by_place},
};
use crate::lease::{HolderView, LeaseId, LockView, Mode, WaiterView};

impl Core {
    /// Who holds and who waits, by one linearizable read.
    pub(super) async fn view_of(&self, path: &LockPath) -> Result<LockView, Fault> {
        let look = Txn::new().and_then([
            TxnOp::get(path.holder(), Some(GetOptions::new().with_keys_only())),
            TxnOp::get(path.meta(), None),
            TxnOp::get(path.queue(), Some(by_place())),
        ]);
        let answer = self.etcd.look(look).await?;
        let [
            TxnOpResponse::Get(holder),
            TxnOpResponse::Get(meta),
            TxnOpResponse::Get(queue),
        ] = answer.responses.as_slice()
        else {
            return Err(Fault::Lost("etcd answered what it was not asked".into()));
        };
        let holder = holder.kvs().first().map(HolderKey::read);
        let of_holder =
            |kv: &&KeyValue| holder.is_some_and(|holder| holder.token == kv.mod_revision());
        let meta: Option<Meta> = meta
            .kvs()
            .first()
            .filter(of_holder)
            .map(|kv| records::decode(kv.value()))
            .transpose()?;
        let waiting: Vec<Waiting> = queue
            .kvs()
            .iter()
            .map(Waiting::read)
            .collect::<Result<_, _>>()?;
        let mut view = LockView::default();
        if let Some(holder) = holder {
            view.holders.push(self.holder_view(holder, meta).await?);
        }
        view.waiters = waiting
            .into_iter()
            .map(|waiting| WaiterView {
                waiting_for: Some(records::ago(waiting.waiter.since_ms)),
                holder: waiting.waiter.holder,
                mode: Mode::Exclusive,
            })
            .collect();
        Ok(view)
    }

    async fn holder_view(
        &self,
        holder: HolderKey,
        meta: Option<Meta>,
    ) -> Result<HolderView, Fault> {
        let leased = holder.lease != LeaseId(0);
        let (remaining, ttl) = if leased {
            self.lease_glance(holder.lease).await.unzip()
        } else {
            (None, None)
        };
        Ok(HolderView {
            mode: Mode::Exclusive,
            fencing_token: fencing_token(holder.token)?,
            held_for: meta.as_ref().map(|meta| records::ago(meta.since_ms)),
            ttl: meta
                .as_ref()
                .map(|meta| Duration::from_millis(meta.ttl_ms))
                .or(ttl),
            remaining,
            holder: meta.as_ref().map(|meta| meta.holder.clone()),
            metadata: meta.map(|meta| meta.metadata).unwrap_or_default(),
        })
    }
}
