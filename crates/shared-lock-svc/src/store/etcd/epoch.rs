//! The name of this etcd's life, kept in etcd unless the operator gives one.

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse};
use uuid::Uuid;

use super::{Core, fault::Fault, keys::EPOCH, proposal::Proposal};

impl Core {
    /// The token epoch, made by whichever replica comes first.
    pub(super) async fn token_epoch(&self) -> Result<String, Fault> {
        if let Some(epoch) = &self.options.token_epoch {
            return Ok(epoch.clone());
        }
        self.epoch
            .get_or_try_init(|| self.stored_epoch())
            .await
            .cloned()
    }

    async fn stored_epoch(&self) -> Result<String, Fault> {
        let ours = Uuid::new_v4().to_string();
        let txn = Txn::new()
            .when([Compare::create_revision(EPOCH, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(EPOCH, ours.as_str(), None)])
            .or_else([TxnOp::get(EPOCH, None)]);
        let answer = self.etcd.propose(Proposal::alone(txn)).await?;
        match answer.responses.first() {
            _ if answer.succeeded => Ok(ours),
            Some(TxnOpResponse::Get(get)) if !get.kvs().is_empty() => {
                Ok(String::from_utf8_lossy(get.kvs()[0].value()).into_owned())
            }
            _ => Err(Fault::Lost("etcd did not name its epoch".into())),
        }
    }
}
