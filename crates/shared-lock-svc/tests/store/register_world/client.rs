//! A client that takes locks at one replica, renews them at another and gives them back at a third; some
//! die with what they have.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use shared_lock_svc::{
    lease::{AcquireRequest, Acquisition, Anchor, Claim, Holder, LockKey, Mode, RequestId, Tenure},
    store::{LockStore, Release},
};
use tokio::time::{Instant, sleep, timeout};

use super::{World, rng::Rng};

const KEYS: u64 = 2;

/// How long a client waits for an answer to a release or a keepalive.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Client {
    world: Arc<World>,
    name: u64,
    rng: Rng,
    asked: u64,
}

impl Client {
    pub(super) fn new(world: &Arc<World>, name: u64, rng: Rng) -> Self {
        Self {
            world: Arc::clone(world),
            name,
            rng,
            asked: 0,
        }
    }

    /// Takes locks while there are faults, and each lock once more afterwards.
    pub(super) async fn work(mut self, end: Instant) {
        while Instant::now() < end {
            let number = self.rng.between(0, KEYS);
            self.turn(&format!("lock-{number}")).await;
            sleep(self.rng.millis(10, 1_500)).await;
        }
        for number in 0..KEYS {
            while !self.turn(&format!("lock-{number}")).await {
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Whether it got the lock.
    async fn turn(&mut self, key: &str) -> bool {
        let request = self.request(key);
        let mode = request.mode;
        let Some(tenure) = self.acquire(&request).await else {
            return false;
        };
        let token = tenure.fencing_token.0.get();
        for _ in 0..self.rng.between(0, 4) {
            sleep(tenure.ttl.mul_f64(0.3)).await;
            self.renew(&request.key, mode, &tenure).await;
        }
        sleep(self.rng.millis(1, 2_000)).await;
        // It dies, or it gives it back: by the tenure, or by the request.
        if self.rng.chance(15) {
            return true;
        }
        let claim = match self.rng.chance(50) {
            true => Claim::Request(request.request_id.clone()),
            false => Claim::Tenure {
                lease_id: tenure.lease_id,
                fencing_token: tenure.fencing_token,
            },
        };
        self.world.judge.lock().unwrap().leaves(key, token);
        let times = 1 + u32::from(self.rng.chance(30));
        for _ in 0..times {
            // The second one comes when somebody else has the lock.
            self.end(&request.key, claim.clone()).await;
            sleep(self.rng.millis(1, 3_000)).await;
        }
        true
    }

    fn request(&mut self, key: &str) -> AcquireRequest {
        self.asked += 1;
        let name = format!("client-{}", self.name);
        AcquireRequest {
            key: LockKey::parse_compat(key).unwrap(),
            holder: Holder::try_from(name.clone()).unwrap(),
            anchor: Anchor::Own(self.rng.millis(2_000, 8_000)),
            mode: match self.rng.chance(30) {
                true => Mode::Shared,
                false => Mode::Exclusive,
            },
            wait: match self.rng.chance(30) {
                true => Duration::ZERO,
                false => self.rng.millis(0, 20_000),
            },
            lock_delay: Duration::ZERO,
            request_id: RequestId::try_from(format!("{name}-{}", self.asked)).unwrap(),
            metadata: Default::default(),
            value: name,
            trace_id: None,
        }
    }

    /// Asks for a lock, at times at two replicas with one request. Who hears nothing ends the request: it
    /// gets nothing any more.
    async fn acquire(&mut self, request: &AcquireRequest) -> Option<Tenure> {
        let (one, other) = (self.ask(request), self.ask(request));
        let answers = match self.rng.chance(20) {
            true => vec![one, other],
            false => vec![one],
        };
        let answers = join_all(answers).await;
        let mut got = None;
        for answer in &answers {
            match answer {
                Some(Acquisition::Acquired(tenure)) => {
                    self.told(request, tenure);
                    got = Some(tenure.clone());
                }
                Some(_) => {}
                None => {
                    self.give_up(request).await;
                    return None;
                }
            }
        }
        got
    }

    fn ask(
        &mut self,
        request: &AcquireRequest,
    ) -> impl Future<Output = Option<Acquisition>> + use<> {
        let (replica, request) = (self.world.any(&mut self.rng), request.clone());
        let patience = request.wait.mul_f64(0.5) + self.rng.millis(500, 15_000);
        async move {
            let answer = timeout(patience, replica.acquire(request)).await;
            answer.ok()?.ok()
        }
    }

    /// What was asked may come late; who asks with a request that has ended gets nothing.
    async fn give_up(&mut self, request: &AcquireRequest) {
        let (key, id) = (request.key.as_str(), request.request_id.as_str());
        self.world.judge.lock().unwrap().withdrawn(key, id);
        let claim = Claim::Request(request.request_id.clone());
        if !self.end(&request.key, claim).await {
            return;
        }
        self.world.judge.lock().unwrap().ended(key, id);
        if let Some(Acquisition::Acquired(tenure)) = self.ask(request).await {
            self.told(request, &tenure);
        }
    }

    fn told(&self, request: &AcquireRequest, tenure: &Tenure) {
        let (key, id) = (request.key.as_str(), request.request_id.as_str());
        let mut judge = self.world.judge.lock().unwrap();
        judge.told(key, id, request.mode, tenure);
    }

    async fn renew(&mut self, key: &LockKey, mode: Mode, tenure: &Tenure) {
        let token = tenure.fencing_token.0.get();
        let replica = self.world.any(&mut self.rng);
        let renewed = timeout(PATIENCE, replica.keep_alive(key, tenure.lease_id)).await;
        let mut judge = self.world.judge.lock().unwrap();
        match renewed {
            Ok(Ok(Some(renewal))) => judge.renewed(key.as_str(), token, mode, renewal.until.0),
            Ok(Ok(None)) => judge.gone(key.as_str(), token),
            _ => {}
        }
    }

    /// Whether it is confirmed that it is over.
    async fn end(&mut self, key: &LockKey, claim: Claim) -> bool {
        const TRIES: u32 = 6;
        for _ in 0..TRIES {
            let release = Release {
                claim: claim.clone(),
                note: None,
                trace_id: None,
            };
            let replica = self.world.any(&mut self.rng);
            let ended = timeout(PATIENCE, replica.release(key, release)).await;
            if matches!(ended, Ok(Ok(_))) {
                return true;
            }
        }
        false
    }
}
