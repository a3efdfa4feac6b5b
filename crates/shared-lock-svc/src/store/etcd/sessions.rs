//! Sessions: one lease that carries many tenures.

use std::{collections::BTreeSet, sync::Arc};

use etcd_client::{GetOptions, LeaseTimeToLiveOptions, PutOptions, TxnOp};
use tokio::{task::JoinSet, time::Instant};

use super::{
    Core,
    client::Call,
    fault::Fault,
    keys::{self, LockPath, Spot},
    proposal::Proposal,
    records::{self, Cause, Meta, SessionRecord},
    release::Named,
    table::Parting,
};
use crate::lease::{LeaseId, Session, SessionRequest, Until};

/// Tenures that are ended at a time.
const AT_A_TIME: usize = 16;

impl Core {
    /// Begins a session: a lease, and its guard, which nobody writes or deletes ever after.
    pub(super) async fn open_session(
        self: &Arc<Self>,
        request: SessionRequest,
    ) -> Result<Session, Fault> {
        let sent = Instant::now();
        let lease = self.grant_lease(request.ttl).await?;
        let record = records::encode(SessionRecord {
            holder: request.holder,
            ttl_ms: records::millis(lease.ttl),
        });
        let on_lease = PutOptions::new().with_lease(lease.id.0);
        let put = TxnOp::put(keys::guard(lease.id), record, Some(on_lease));
        let begin = Proposal::of_all([], [], [put]).adding();
        if let Err(fault) = self.etcd.propose(begin).await {
            self.revoke_lease_later(lease.id);
            return Err(fault);
        }
        Ok(Session {
            id: lease.id,
            ttl: lease.ttl,
            until: Until(sent + lease.ttl),
        })
    }

    /// Ends a session: its tenures one by one, so that each lock is handed over, then its lease. Its
    /// waiters leave their queues when they see that. `false` if it was over.
    pub(super) async fn end_session(self: &Arc<Self>, lease: LeaseId) -> Result<bool, Fault> {
        let guard = keys::guard(lease);
        let get = self.etcd.get(guard.as_bytes(), GetOptions::new()).await?;
        if get.kvs().first().is_none_or(|kv| kv.value().is_empty()) {
            return Ok(false);
        }
        loop {
            let tenures = self.tenures_on(lease).await?;
            if tenures.is_empty() {
                break;
            }
            self.end_tenures(tenures).await?;
        }
        self.revoke_lease(lease).await?;
        Ok(true)
    }

    async fn end_tenures(self: &Arc<Self>, tenures: Vec<(LockPath, Named)>) -> Result<(), Fault> {
        let mut tenures = tenures.into_iter();
        let mut ending = JoinSet::new();
        loop {
            while ending.len() < AT_A_TIME
                && let Some((path, named)) = tenures.next()
            {
                let core = Arc::clone(self);
                let parting = Parting::because(Cause::SessionEnded);
                ending.spawn(async move { core.end_tenure(&path, named, parting).await });
            }
            match ending.join_next().await {
                Some(Ok(ended)) => drop(ended?),
                Some(Err(_)) => return Err(Fault::unreachable("the store is closed")),
                None => return Ok(()),
            }
        }
    }

    /// The tenures that hang on a lease.
    async fn tenures_on(&self, lease: LeaseId) -> Result<Vec<(LockPath, Named)>, Fault> {
        let mut tenures = Vec::new();
        for key in self.keys_on(lease).await? {
            let record = match Spot::of(&key) {
                Spot::Meta(_) | Spot::Reader(..) | Spot::Permit(..) => key,
                _ => continue,
            };
            let get = self.etcd.get(&record, GetOptions::new()).await?;
            let Some(kv) = get.kvs().first().filter(|kv| kv.lease() == lease.0) else {
                continue;
            };
            // M is written together with H, so that both have one revision.
            let meta: Meta = records::decode(kv.value())?;
            let token = kv.mod_revision();
            let named = Named { token, lease };
            if self.find_tenure(&meta.path(), named).await?.is_some() {
                tenures.push((meta.path(), named));
            }
        }
        Ok(tenures)
    }

    /// The keys that hang on a lease; none if it is gone.
    async fn keys_on(&self, lease: LeaseId) -> Result<BTreeSet<Vec<u8>>, Fault> {
        let options = LeaseTimeToLiveOptions::new().with_keys();
        let life = self
            .etcd
            .call(Call::freely("lease_time_to_live"), |mut client| {
                let options = options.clone();
                async move { client.lease_time_to_live(lease.0, Some(options)).await }
            });
        match life.await {
            Ok(life) => Ok(life.keys().iter().cloned().collect()),
            Err(Fault::LeaseNotFound) => Ok(BTreeSet::new()),
            Err(fault) => Err(fault),
        }
    }
}
