//! Linearizable reads of a lock, and proposals that need a tombstone.

use std::{collections::HashSet, sync::Arc};

use etcd_client::{GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};

use super::{
    Core,
    client::Answer,
    fault::Fault,
    keys::{LockPath, Spot},
    proposal::Proposal,
    release::Named,
    room::Scene,
    sight::{Hold, Question, Sight, leases_of, read_meta},
    table,
};
use crate::lease::LeaseId;

/// Leases whose guards one look asks for.
const GUARDS: usize = 100;

/// How often a tombstone lease that turns out to be gone is replaced in one go.
const MOST_LEASES: usize = 3;

impl Core {
    /// Looks at a lock.
    pub(super) async fn look(&self, question: &Question<'_>) -> Result<Sight, Fault> {
        question.read(&self.etcd.look(table::look(question)).await?)
    }

    /// Asks several questions at once.
    pub(super) async fn look_at_several(
        &self,
        questions: &[Question<'_>],
    ) -> Result<Vec<Sight>, Fault> {
        let ops: Vec<_> = questions.iter().flat_map(Question::ops).collect();
        let mut answer = self.etcd.look(Txn::new().and_then(ops)).await?;
        let mut seen = Vec::new();
        // Each question reads what is last.
        for question in questions.iter().rev() {
            seen.push(question.read(&answer)?);
            let read = question.ops().len();
            let left = answer.responses.len().saturating_sub(read);
            answer.responses.truncate(left);
        }
        seen.reverse();
        Ok(seen)
    }

    /// How a lock stands, with all that a decision about its queue needs.
    pub(super) async fn scene_now(&self, path: &LockPath) -> Result<Scene, Fault> {
        let seen = self.look(&Question::about(path).queue()).await?;
        self.with_guards(seen.scene, &HashSet::new()).await
    }

    /// Adds which of the waiters' leases are alive, but for those that were asked already.
    pub(super) async fn with_guards(
        &self,
        mut scene: Scene,
        asked: &HashSet<LeaseId>,
    ) -> Result<Scene, Fault> {
        let named = leases_of(&scene.queue);
        let unknown: Vec<_> = named.difference(asked).copied().collect();
        for some in unknown.chunks(GUARDS) {
            let seen = self
                .look(&Question::of_guards(some.iter().copied()))
                .await?;
            scene.guarded.extend(seen.scene.guarded);
        }
        Ok(scene)
    }

    /// A tenure by lease and token.
    pub(super) async fn find_tenure(
        &self,
        path: &LockPath,
        named: Named,
    ) -> Result<Option<Hold>, Fault> {
        let of_that_revision = GetOptions::new()
            .with_prefix()
            .with_min_mod_revision(named.token)
            .with_max_mod_revision(named.token);
        let holds = self.holds_among(path, of_that_revision).await?;
        Ok(holds.into_iter().find(|hold| named.is(hold)))
    }

    /// All tenures of a lock.
    pub(super) async fn holds_now(&self, path: &LockPath) -> Result<Vec<Hold>, Fault> {
        let all = GetOptions::new().with_prefix();
        self.holds_among(path, all).await
    }

    async fn holds_among(&self, path: &LockPath, others: GetOptions) -> Result<Vec<Hold>, Fault> {
        let look = Txn::new().and_then([
            TxnOp::get(path.holder(), Some(GetOptions::new().with_keys_only())),
            TxnOp::get(path.meta(), None),
            TxnOp::get(path.others(), Some(others)),
        ]);
        read_holds(&self.etcd.look(look).await?.responses)
    }

    /// Proposes what needs a lease for tombstones.
    pub(super) async fn propose_with_tombstones(
        self: &Arc<Self>,
        proposal: impl Fn(LeaseId) -> Proposal,
    ) -> Result<Answer, Fault> {
        let mut tries = 0;
        loop {
            let lease = self.tombstone_lease().await?;
            let proposed = self.etcd.propose(proposal(lease)).await;
            if !matches!(proposed, Err(Fault::LeaseNotFound)) {
                return proposed;
            }
            // All others are compared to be alive.
            self.forget_tombstone_lease(lease).await;
            tries += 1;
            if tries == MOST_LEASES {
                return proposed;
            }
        }
    }
}

/// Reads H, M, and what else keeps the lock.
pub(super) fn read_holds(responses: &[TxnOpResponse]) -> Result<Vec<Hold>, Fault> {
    let [
        TxnOpResponse::Get(holder),
        TxnOpResponse::Get(meta),
        TxnOpResponse::Get(others),
        ..,
    ] = responses
    else {
        return Err(Fault::Lost("etcd answered what it was not asked".into()));
    };
    let meta = meta.kvs().first().map(read_meta).transpose()?;
    let holder = holder.kvs().first();
    let holder = holder.map(|holder| Ok(Hold::of_holder(holder, meta)));
    let is_tenure =
        |kv: &&KeyValue| matches!(Spot::of(kv.key()), Spot::Reader(..) | Spot::Permit(..));
    let others = others.kvs().iter().filter(is_tenure).map(Hold::read);
    holder.into_iter().chain(others).collect()
}
