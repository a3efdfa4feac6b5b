//! etcd as the rest of the store calls it: with deadlines, and one member at a time.
//!
//! etcd-client would spread calls over all members, dead and silent ones too. Here a prober finds
//! one member that answers, all calls go to it, and a call that fails makes the prober look again.
//! While no member answers, calls fail at once.

use std::{
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use etcd_client::{
    Client, DeleteResponse, Error, GetOptions, GetResponse, KvClient, PutResponse, Txn,
    TxnOpResponse, TxnResponse, WatchClient, proto::PbTxnOpResponse,
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{Instrument, Span, field::Empty, info, info_span, warn};

use super::{
    alarm::Alarm, batch::Batches, fault::Fault, keys::EPOCH, metrics::EtcdMetrics,
    options::EtcdOptions,
};

/// The oldest etcd whose leader checks that it still leads before it renews a lease.
const OLDEST: [u64; 3] = [3, 5, 13];

/// How long a member may take to prove itself.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the member in use is waited for when another has answered.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long to wait before looking again for a member that answers.
const PROBE_PAUSE: Duration = Duration::from_millis(200);

/// Queues of a thousand waiters and bursts of expiries are larger than gRPC's usual 4 MiB.
const MAX_MESSAGE: usize = 64 << 20;

pub(super) struct Etcd {
    pub(super) options: EtcdOptions,
    pub(super) batches: Batches,
    pub(super) alarm: Alarm,
    pub(super) metrics: EtcdMetrics,
    /// One client for each endpoint, made when first needed and dropped when it fails.
    clients: Mutex<Vec<Option<Client>>>,
    standing: watch::Sender<Standing>,
    suspect: Notify,
    /// When etcd last answered anything.
    heard: Mutex<Option<Instant>>,
}

/// What the prober last found.
#[derive(Clone)]
struct Standing {
    /// Counts the prober's findings.
    round: u64,
    member: Result<Client, Fault>,
}

/// What is asked of etcd.
#[derive(Clone, Copy)]
pub(super) struct Call {
    /// What it is called in metrics and traces.
    name: &'static str,
    /// Whether it may be made again when its answer was lost.
    repeats: bool,
}

impl Call {
    /// It changes nothing, or the same thing twice.
    pub(super) fn freely(name: &'static str) -> Self {
        let repeats = true;
        Self { name, repeats }
    }

    /// Its effect must be looked at before it is made again.
    pub(super) fn once(name: &'static str) -> Self {
        let repeats = false;
        Self { name, repeats }
    }
}

/// What a transaction came to.
pub(super) struct Answer {
    /// Whether its compares held.
    pub(super) succeeded: bool,
    /// The revision after it: the mod revision of whatever it put.
    pub(super) revision: i64,
    /// One response for each operation of the branch taken.
    pub(super) responses: Vec<TxnOpResponse>,
}

impl Etcd {
    pub(super) fn new(options: EtcdOptions, metrics: EtcdMetrics) -> Self {
        let untried = Standing {
            round: 0,
            member: Err(Fault::unreachable("no member has answered yet")),
        };
        Self {
            clients: Mutex::new(vec![None; options.endpoints.len()]),
            options,
            batches: Batches::default(),
            alarm: Alarm::default(),
            metrics,
            standing: watch::Sender::new(untried),
            suspect: Notify::new(),
            heard: Mutex::new(None),
        }
    }

    /// Runs a transaction that only reads: linearizable, and no entry in etcd's log.
    pub(super) async fn look(&self, txn: Txn) -> Result<Answer, Fault> {
        self.transact(Call::freely("look"), || txn.clone()).await
    }

    /// Reads keys, linearizably.
    pub(super) async fn get(&self, key: &[u8], options: GetOptions) -> Result<GetResponse, Fault> {
        let response = self.call(Call::freely("get"), |client| {
            let (mut kv, options) = (roomy(&client), options.clone());
            async move { kv.get(key, Some(options)).await }
        });
        response.await
    }

    /// Runs a transaction, made anew for each try.
    pub(super) async fn transact(
        &self,
        call: Call,
        txn: impl Fn() -> Txn,
    ) -> Result<Answer, Fault> {
        let response = self.call(call, |client| {
            let (mut kv, txn) = (roomy(&client), txn());
            async move { kv.txn(txn).await }
        });
        let response = response.await.inspect_err(|fault| self.heed(fault))?;
        Ok(Answer {
            succeeded: response.succeeded(),
            revision: response.header().map_or(0, |header| header.revision()),
            responses: responses_of(response),
        })
    }

    /// Makes one call within the operation timeout.
    pub(super) async fn call<T, F, R>(&self, call: Call, request: F) -> Result<T, Fault>
    where
        F: Fn(Client) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        self.call_within(self.options.operation_timeout, call, request)
            .await
    }

    /// Makes one call. What was certainly not sent is tried again at another member.
    pub(super) async fn call_within<T, F, R>(
        &self,
        limit: Duration,
        call: Call,
        request: F,
    ) -> Result<T, Fault>
    where
        F: Fn(Client) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let (started, span) = (Instant::now(), span_of(call.name));
        let outcome = self
            .try_call(started + limit, call, request)
            .instrument(span.clone())
            .await;
        if let Err(fault) = &outcome {
            span.record("error.type", fault.kind());
        }
        self.metrics
            .called(call.name, started.elapsed(), outcome.as_ref());
        outcome
    }

    async fn try_call<T, F, R>(&self, deadline: Instant, call: Call, request: F) -> Result<T, Fault>
    where
        F: Fn(Client) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let mut tries = 0;
        loop {
            let (round, client) = self.member(deadline).await?;
            let fault = match timeout_at(deadline, request(client)).await {
                Ok(Ok(answer)) => {
                    self.hear();
                    return Ok(answer);
                }
                Ok(Err(err)) => Fault::from(err),
                Err(_) => Fault::Silent,
            };
            if fault.blames_member() {
                self.suspect();
            }
            tries += 1;
            let again = match fault {
                Fault::Lost(_) => call.repeats,
                _ => self.may_ask_again(&fault),
            };
            if !again || tries == 3 {
                return Err(fault);
            }
            self.next_round(round, deadline).await;
        }
    }

    /// Whether what changes nothing when it is done twice may go well at the next try.
    pub(super) fn may_ask_again(&self, fault: &Fault) -> bool {
        match fault {
            Fault::Unreachable(_) => self.options.endpoints.len() > 1,
            Fault::Lost(_) => true,
            Fault::Silent | Fault::LeaseNotFound | Fault::Refused(_) => false,
        }
    }

    /// A client that the caller watches over itself.
    pub(super) async fn watch_client(&self) -> Result<WatchClient, Fault> {
        let (_, client) = self
            .member(Instant::now() + self.options.operation_timeout)
            .await?;
        Ok(client.watch_client().max_decoding_message_size(MAX_MESSAGE))
    }

    /// Notes that etcd answered.
    pub(super) fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Has the prober look at the member in use.
    pub(super) fn suspect(&self) {
        self.suspect.notify_one();
    }

    /// Finds a member that answers, and finds another when that one is suspected; for ever.
    pub(super) async fn probe(&self) {
        let mut used = 0;
        loop {
            let asked = Instant::now();
            match self.find(used).await {
                Ok((index, client)) => {
                    used = index;
                    self.conclude(Ok(client));
                    self.suspect.notified().await;
                }
                // It answers others: it is slow, or we are, and to refuse all calls helps nobody.
                Err(Fault::Silent) if self.heard_since(asked) => sleep(PROBE_PAUSE).await,
                Err(fault) => {
                    self.conclude(Err(fault));
                    sleep(PROBE_PAUSE).await;
                }
            }
        }
    }

    fn heard_since(&self, moment: Instant) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|heard| heard > moment)
    }

    fn conclude(&self, member: Result<Client, Fault>) {
        // Whatever is wrong, a call that finds no member is not sent.
        let member = member.map_err(|fault| match fault {
            Fault::Unreachable(_) => fault,
            other => Fault::unreachable(other.to_string()),
        });
        let before = self.standing.borrow().clone();
        match (&before.member, &member) {
            (Err(_), Ok(_)) => info!("etcd answers"),
            (Ok(_), Err(fault)) => warn!(error = %fault, "etcd is lost: {fault}"),
            (Err(_), Err(fault)) if before.round == 0 => {
                warn!(error = %fault, "etcd is not there: {fault}")
            }
            _ => {}
        }
        self.standing.send_replace(Standing {
            round: before.round + 1,
            member,
        });
    }

    /// The member used before if it answers soon, else the first of all that does.
    async fn find(&self, used: usize) -> Result<(usize, Client), Fault> {
        let mut probes = JoinSet::new();
        for (index, endpoint) in self.options.endpoints.iter().enumerate() {
            let client = self.clients()[index].clone();
            let (endpoint, options) = (endpoint.clone(), self.options.clone());
            probes.spawn(async move { (index, prove(client, &endpoint, &options).await) });
        }
        let patience = Instant::now() + PATIENCE;
        let mut found = None;
        let mut complaint = Fault::unreachable("no member was asked");
        loop {
            let proven = match &found {
                None => probes.join_next().await,
                Some(_) => timeout_at(patience, probes.join_next())
                    .await
                    .unwrap_or_default(),
            };
            let Some(proven) = proven else {
                return found.ok_or(complaint);
            };
            let Ok((index, proven)) = proven else {
                continue;
            };
            self.keep(index, proven.as_ref().ok().cloned());
            match proven {
                Ok(client) if index == used => return Ok((index, client)),
                Ok(client) => found = found.or(Some((index, client))),
                Err(fault) if index == used => {
                    complaint = fault;
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                Err(_) => {}
            }
        }
    }

    fn keep(&self, index: usize, client: Option<Client>) {
        self.clients()[index] = client;
    }

    fn clients(&self) -> MutexGuard<'_, Vec<Option<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The member in use. Only before the prober's first finding is there anything to wait for.
    pub(super) async fn member(&self, deadline: Instant) -> Result<(u64, Client), Fault> {
        self.next_round(0, deadline).await;
        let standing = self.standing.borrow().clone();
        standing.member.map(|client| (standing.round, client))
    }

    /// Waits until the prober has found something after that round.
    pub(super) async fn next_round(&self, round: u64, deadline: Instant) {
        let mut standing = self.standing.subscribe();
        // Both errors mean the same: the standing stays as it is, and tells the caller why.
        let _ = timeout_at(
            deadline,
            standing.wait_for(|standing| standing.round > round),
        )
        .await;
    }
}

/// A call of etcd in a trace. No key is ever in it.
pub(super) fn span_of(call: &'static str) -> Span {
    info_span!(
        "etcd",
        otel.name = format!("etcd {call}"),
        otel.kind = "client",
        db.system.name = "etcd",
        db.operation.name = call,
        db.operation.batch.size = Empty,
        error.type = Empty,
    )
}

/// What a transaction answered, taken out of it: etcd-client would copy it, at each level again.
pub(super) fn responses_of(response: TxnResponse) -> Vec<TxnOpResponse> {
    let all = response.0.responses.into_iter();
    let all = all.filter_map(|one| match one.response? {
        PbTxnOpResponse::ResponsePut(put) => Some(TxnOpResponse::Put(PutResponse(put))),
        PbTxnOpResponse::ResponseRange(get) => Some(TxnOpResponse::Get(GetResponse(get))),
        PbTxnOpResponse::ResponseDeleteRange(delete) => {
            Some(TxnOpResponse::Delete(DeleteResponse(delete)))
        }
        PbTxnOpResponse::ResponseTxn(nested) => Some(TxnOpResponse::Txn(TxnResponse(nested))),
    });
    all.collect()
}

fn roomy(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(MAX_MESSAGE)
}

/// Connects to a member if need be, and has it answer a linearizable read.
async fn prove(
    client: Option<Client>,
    endpoint: &str,
    options: &EtcdOptions,
) -> Result<Client, Fault> {
    let proof = async {
        let mut client = match client {
            Some(client) => client,
            None => connect(endpoint, options).await?,
        };
        client
            .get(EPOCH, Some(GetOptions::new().with_keys_only()))
            .await?;
        Ok(client)
    };
    timeout(PROBE_TIMEOUT, proof)
        .await
        .unwrap_or(Err(Fault::Silent))
}

async fn connect(endpoint: &str, options: &EtcdOptions) -> Result<Client, Fault> {
    let connect_options = options
        .connect_options(endpoint)
        .map_err(|err| Fault::unreachable(format!("{err:#}")))?;
    let mut client = Client::connect([endpoint], Some(connect_options)).await?;
    let status = client.status().await?;
    if is_too_old(status.version()) {
        let [major, minor, patch] = OLDEST;
        let why = format!(
            "etcd {} is too old, {major}.{minor}.{patch} is needed",
            status.version()
        );
        return Err(Fault::unreachable(why));
    }
    Ok(client)
}

fn is_too_old(version: &str) -> bool {
    let digits = version.split('-').next().unwrap_or_default();
    let numbers: Vec<u64> = digits
        .split('.')
        .map_while(|number| number.parse().ok())
        .collect();
    numbers.as_slice() < OLDEST.as_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for old in ["3.4.31", "3.5.9", "3.5.12", "2.10.20", "", "what"] {
            assert!(is_too_old(old), "{old}");
        }
        for new in ["3.5.13", "3.5.100", "3.6.0-rc.1", "3.10.0", "4.0.0"] {
            assert!(!is_too_old(new), "{new}");
        }
    }
}
