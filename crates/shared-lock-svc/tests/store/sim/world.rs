//! Time, the network, the server's life and death.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

use shared_lock_svc::{
    lease::{FencingToken, LockKey},
    state::Moment,
};

use super::{
    Run,
    bugs::Bugs,
    client::{Client, Want},
    disk::Disk,
    judge::Judge,
    messages::{Ask, Caller, Id, Reply},
    resource::{Resource, Written},
    rng::Rng,
    server::Server,
};

const CLIENTS: usize = 5;

/// No message is later than that; what has ended is remembered longer.
const LATEST_MESSAGE: u64 = 20_000;

pub(crate) struct World {
    rng: Rng,
    bugs: Bugs,
    now: Moment,
    agenda: BinaryHeap<Entry>,
    entries: u64,
    server: Option<Server>,
    /// Which life of the server it is: events of an earlier one are void.
    life: u64,
    syncing: bool,
    armed: Option<Moment>,
    disk: Disk,
    clients: Vec<Client>,
    resources: HashMap<LockKey, Resource>,
    judge: Judge,
    crashes: usize,
    fenced: usize,
    trace: Option<Vec<String>>,
}

struct Entry {
    at: Moment,
    number: u64,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    ToServer {
        client: usize,
        call: u64,
        ask: Ask,
    },
    ToClient {
        client: usize,
        call: u64,
        reply: Reply,
    },
    HangUp {
        client: usize,
        call: u64,
    },
    WaitOver {
        life: u64,
        id: Id,
    },
    Synced {
        life: u64,
        position: u64,
    },
    Alarm {
        life: u64,
    },
    Crash,
    Restart,
    Wake {
        client: usize,
        alarm: u64,
    },
    Read {
        client: usize,
        key: LockKey,
        token: FencingToken,
    },
    ValueRead {
        client: usize,
        key: LockKey,
        token: FencingToken,
        value: u64,
    },
    Write {
        client: usize,
        key: LockKey,
        token: FencingToken,
        value: u64,
    },
    Written {
        client: usize,
        key: LockKey,
        token: FencingToken,
    },
}

impl World {
    pub(crate) fn new(rng: Rng, bugs: &Bugs, trace: bool) -> Self {
        let (disk, now) = (Disk::default(), Moment(Duration::from_secs(1000)));
        Self {
            server: Some(Server::start(&disk, bugs, 0, now)),
            rng,
            bugs: bugs.clone(),
            now,
            agenda: BinaryHeap::new(),
            entries: 0,
            life: 0,
            syncing: false,
            armed: None,
            disk,
            clients: (0..CLIENTS).map(Client::new).collect(),
            resources: HashMap::new(),
            judge: Judge::default(),
            crashes: 0,
            fenced: 0,
            trace: trace.then(Vec::new),
        }
    }

    /// Lets clients work for so long, then lets everything come to its end.
    pub(crate) fn live(&mut self, work: Duration) {
        for client in 0..CLIENTS {
            let start = self.rng.millis(0, 1000);
            self.schedule(start, What::Wake { client, alarm: 0 });
        }
        if self.rng.chance(70) {
            for _ in 0..self.rng.between(1, 5) {
                let at = self.rng.millis(500, work.as_millis() as u64);
                self.schedule(at, What::Crash);
            }
        }
        let end_of_work = self.now + work;
        while self.judge.violation.is_none()
            && let Some(Entry { at, what, .. }) = self.agenda.pop()
        {
            self.now = at;
            if at > end_of_work {
                self.clients
                    .iter_mut()
                    .for_each(|client| client.retired = true);
            }
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{:>10.3} {what:?}", at.0.as_secs_f64()));
            }
            self.happens(what);
        }
        self.nothing_is_left();
    }

    pub(crate) fn verdict(self) -> Run {
        let at = self.now.0.as_secs_f64();
        Run {
            violation: self
                .judge
                .violation
                .map(|fault| format!("at {at:.3}: {fault}")),
            told: self.judge.grants_told,
            deadlocks: self.judge.deadlocks,
            crashes: self.crashes,
            fenced: self.fenced,
            trace: self.trace.unwrap_or_default(),
        }
    }

    fn happens(&mut self, what: What) {
        if let What::ToClient { client, .. }
        | What::Wake { client, .. }
        | What::ValueRead { client, .. } = &what
        {
            let wakes = self.clients[*client].asleep_until;
            if wakes > self.now {
                return self.schedule(wakes.since(self.now), what);
            }
        }
        match what {
            What::Wake { client, alarm } => {
                if self.clients[client].alarm == alarm {
                    self.clients[client].wake(&mut self.rng, self.now);
                    self.serve_wants(client);
                }
            }
            What::ToClient {
                client,
                call,
                reply,
            } => {
                self.clients[client].hear(call, &reply, &mut self.rng, self.now);
                self.serve_wants(client);
            }
            What::ValueRead {
                client,
                key,
                token,
                value,
            } => {
                self.clients[client].value_read(&key, token, value);
                self.serve_wants(client);
            }
            What::Read { client, key, token } => {
                if let Some(value) = self.resource(&key).read(token) {
                    let delay = self.delay();
                    self.schedule(
                        delay,
                        What::ValueRead {
                            client,
                            key,
                            token,
                            value,
                        },
                    );
                }
            }
            What::Write {
                client,
                key,
                token,
                value,
            } => {
                match self.resource(&key).write(token, value) {
                    Written::Taken => {}
                    Written::Fenced => self.fenced += 1,
                    Written::LostUpdate => self.judge.fault(format!("an update of {key} was lost")),
                }
                let delay = self.delay();
                self.schedule(delay, What::Written { client, key, token });
            }
            What::Written { client, key, token } => self.clients[client].written(&key, token),
            What::Crash => self.crash(),
            What::Restart => self.restart(),
            what => self.happens_at_server(what),
        }
    }

    fn happens_at_server(&mut self, what: What) {
        let (now, life) = (self.now, self.life);
        let Some(server) = &mut self.server else {
            return;
        };
        match what {
            What::ToServer { client, call, ask } => {
                let caller = Caller {
                    client,
                    call,
                    arrived: now,
                };
                if let Some((id, until)) = server.handle(caller, ask, &mut self.judge, now) {
                    self.schedule(until.since(now), What::WaitOver { life, id });
                }
            }
            What::HangUp { client, call } => {
                server.hang_up(client, call, &mut self.judge, now);
            }
            What::WaitOver { life: of, id } if of == life => {
                server.wait_over(&id, &mut self.judge, now);
            }
            What::Synced { life: of, position } if of == life => {
                self.syncing = false;
                server.synced(position, &mut self.disk);
            }
            What::Alarm { life: of } if of == life => {
                self.armed = None;
                server.tick(&mut self.judge, now);
            }
            _ => return,
        }
        self.after_server();
    }

    /// What the server has to say is sent, what it has to write is being written, and it is woken
    /// when time alone changes something.
    fn after_server(&mut self) {
        let Some(server) = &mut self.server else {
            return;
        };
        let answers = server.answers(&mut self.judge, self.now);
        let next = server.table.next_alarm();
        let (behind, written) = (server.is_behind(), server.written());
        for (Caller { client, call, .. }, reply) in answers {
            self.transmit(What::ToClient {
                client,
                call,
                reply,
            });
        }
        let life = self.life;
        if behind && !self.syncing {
            self.syncing = true;
            let took = if self.rng.chance(3) {
                self.rng.millis(20, 3000)
            } else {
                self.rng.millis(1, 20)
            };
            self.schedule(
                took,
                What::Synced {
                    life,
                    position: written,
                },
            );
        }
        if let Some(at) = next
            && self.armed.is_none_or(|armed| at < armed)
        {
            self.armed = Some(at);
            self.schedule(at.since(self.now), What::Alarm { life });
        }
    }

    fn crash(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        // A sync that was under way may have come to its end, or not.
        if self.syncing && self.rng.chance(50) {
            server.synced(server.written(), &mut self.disk);
        }
        self.crashes += 1;
        self.syncing = false;
        self.armed = None;
        self.life += 1;
        self.judge.crashed();
        let away = self.rng.millis(10, 6000);
        self.schedule(away, What::Restart);
    }

    fn restart(&mut self) {
        let server = Server::start(&self.disk, &self.bugs, self.life, self.now);
        self.judge.restarted(&server.table, self.now);
        self.server = Some(server);
        self.after_server();
    }

    fn serve_wants(&mut self, client: usize) {
        for want in std::mem::take(&mut self.clients[client].wants) {
            match want {
                Want::Send { call, ask } => self.transmit(What::ToServer { client, call, ask }),
                Want::HangUp { call } => {
                    let delay = self.rng.millis(1, 1000);
                    self.schedule(delay, What::HangUp { client, call });
                }
                Want::Read { key, token } => {
                    let delay = self.delay();
                    self.schedule(delay, What::Read { client, key, token });
                }
                Want::Write { key, token, value } => {
                    let delay = self.delay();
                    self.schedule(
                        delay,
                        What::Write {
                            client,
                            key,
                            token,
                            value,
                        },
                    );
                }
                Want::Wake(after) => {
                    self.clients[client].alarm += 1;
                    let alarm = self.clients[client].alarm;
                    self.schedule(after, What::Wake { client, alarm });
                }
            }
        }
    }

    /// A message may be lost, may come twice, and may be overtaken.
    fn transmit(&mut self, message: What) {
        if self.rng.chance(5) {
            let delay = self.delay();
            self.schedule(delay, message.clone());
        }
        if !self.rng.chance(4) {
            let delay = self.delay();
            self.schedule(delay, message);
        }
    }

    fn delay(&mut self) -> Duration {
        match self.rng.between(0, 100) {
            0..3 => self.rng.millis(100, LATEST_MESSAGE),
            3..15 => self.rng.millis(30, 300),
            _ => self.rng.millis(1, 30),
        }
    }

    fn resource(&mut self, key: &LockKey) -> &mut Resource {
        let unfenced = self.bugs.unfenced;
        self.resources
            .entry(key.clone())
            .or_insert_with(|| Resource::new(unfenced))
    }

    fn schedule(&mut self, after: Duration, what: What) {
        self.entries += 1;
        self.agenda.push(Entry {
            at: self.now + after,
            number: self.entries,
            what,
        });
    }

    /// When all is said and done, nobody holds, nobody waits, nothing is remembered but notes.
    fn nothing_is_left(&mut self) {
        let Some(server) = &self.server else {
            return;
        };
        let left = server.table.len() - self.judge.notes();
        if left > 0 {
            self.judge
                .fault(format!("{left} locks or sessions are never forgotten"));
        }
    }
}

impl Ord for Entry {
    /// The heap gives the greatest first: that is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}
