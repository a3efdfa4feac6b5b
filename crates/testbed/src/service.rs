//! Our own services, started from the shipped binaries.

use std::{path::PathBuf, process::ExitStatus, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    Launch, Log, Process, Scratch, build, free_port, http,
    slot::{Slot, process_verbs},
};

const READY: Duration = Duration::from_secs(30);
const DRAINED: Duration = Duration::from_secs(30);

type Environment = Vec<(String, String)>;

/// A service to be started as a process of its own.
pub struct Service {
    name: String,
    binary: Option<PathBuf>,
    env: Environment,
}

impl Service {
    /// The service whose binary is called `name`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            binary: None,
            env: Vec::new(),
        }
    }

    /// Sets an environment variable. Without one for the address and the data directory, it gets a free port on loopback and
    /// an empty directory of its own.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Starts this file, and builds nothing.
    #[must_use]
    pub fn binary(mut self, binary: PathBuf) -> Self {
        self.binary = Some(binary);
        self
    }

    /// Starts it and waits until `/readyz` says yes.
    ///
    /// # Errors
    /// When it does not compile, ends, or does not get ready; the message ends with its log.
    pub async fn start(self) -> Result<RunningService> {
        let service = self.start_listening().await?;
        service.ready().await?;
        Ok(service)
    }

    /// Starts it and waits until it listens, ready or not: for a service whose dependencies are down.
    ///
    /// # Errors
    /// When it does not compile, or ends; the message ends with its log.
    pub async fn start_listening(self) -> Result<RunningService> {
        let binary = self.built().await?;
        let (env, data) = self.environment()?;
        let plan = Plan {
            name: self.name,
            binary,
            env,
        };
        let process = plan.spawn()?;
        let url = listening_url(&process).await?;
        Ok(RunningService {
            plan,
            url,
            slot: Slot::new(process),
            _data: data,
        })
    }

    /// What was set, and what a service needs besides that starts beside others of its kind.
    fn environment(&self) -> Result<(Environment, Option<Scratch>)> {
        let prefix = prefix(&self.name)?;
        let listen = match prefix {
            "SHARED_LOCK" => vec![
                ("SERVER_ADDRESS", "127.0.0.1".to_owned()),
                ("SERVER_PORT", free_port()?.to_string()),
            ],
            _ => vec![("LISTEN", format!("127.0.0.1:{}", free_port()?))],
        };
        let mut defaults = [listen, vec![("LOG_FORMAT", "json".to_owned())]].concat();
        let mut data = None;
        if !self.sets(&format!("{prefix}_DATA_DIR")) {
            let scratch = data.insert(Scratch::new(&self.name)?);
            defaults.push(("DATA_DIR", scratch.path().display().to_string()));
        }
        let defaults = defaults
            .into_iter()
            .map(|(name, value)| (format!("{prefix}_{name}"), value));
        let mut environment: Environment = defaults.filter(|(name, _)| !self.sets(name)).collect();
        environment.extend(self.env.clone());
        Ok((environment, data))
    }

    async fn built(&self) -> Result<PathBuf> {
        if let Some(binary) = &self.binary {
            return Ok(binary.clone());
        }
        let name = self.name.clone();
        tokio::task::spawn_blocking(move || build(&name)).await?
    }

    fn sets(&self, name: &str) -> bool {
        self.env.iter().any(|(set, _)| set == name)
    }
}

/// A service that was started; it may have been killed since.
pub struct RunningService {
    plan: Plan,
    url: String,
    slot: Slot,
    /// Removed when the service is dropped.
    _data: Option<Scratch>,
}

impl RunningService {
    /// Where it listens: `http://127.0.0.1:…`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// What it printed since it was last started.
    pub fn logs(&self) -> Log {
        self.process().log().clone()
    }

    process_verbs!();

    /// SIGTERM, and how it ended.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn terminate(&self) -> Result<ExitStatus> {
        self.process().terminate(DRAINED).await
    }

    /// Kills it if it runs and starts it again: same port, same environment, same data. Waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready; the message ends with its log.
    pub async fn restart(&self) -> Result<()> {
        self.kill()?;
        self.slot.replace(self.plan.spawn()?);
        let url = listening_url(&self.process()).await?;
        ensure!(
            url == self.url,
            "{} came back at {url} and not at {}",
            self.plan.name,
            self.url
        );
        self.ready().await
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// When it does not; the message ends with the log.
    pub async fn ready(&self) -> Result<()> {
        let readyz = format!("{}/readyz", self.url);
        self.process()
            .ready(READY, async || {
                let answer = http::client()?.get(&readyz).send().await?;
                let status = answer.status();
                ensure!(
                    status.is_success(),
                    "/readyz answers {status}: {}",
                    answer.text().await?
                );
                Ok(())
            })
            .await
    }
}

/// How a service is started, each time.
struct Plan {
    name: String,
    binary: PathBuf,
    env: Environment,
}

impl Plan {
    fn spawn(&self) -> Result<Process> {
        let launch = Launch::new(&self.name, &self.binary).args(["serve"]);
        self.env
            .iter()
            .fold(launch, |launch, (name, value)| launch.env(name, value))
            .spawn()
    }
}

/// How the names of a service's environment variables begin.
fn prefix(service: &str) -> Result<&'static str> {
    match service {
        "shared-lock-svc" => Ok("SHARED_LOCK"),
        "hostname-svc" => Ok("HOSTNAME_SVC"),
        "message-hash-svc" => Ok("MESSAGE_HASH"),
        unknown => bail!("{unknown} is none of our services"),
    }
}

/// The address that the service says it listens on.
async fn listening_url(process: &Process) -> Result<String> {
    process
        .ready(READY, async || {
            process
                .log()
                .find(url_in)
                .context("it has not said where it listens")
        })
        .await
}

fn url_in(line: &str) -> Option<String> {
    let (_, after) = line.split_once("listening on http://")?;
    let end = after
        .find(|c: char| c == '"' || c.is_whitespace())
        .unwrap_or(after.len());
    Some(format!("http://{}", &after[..end]))
}
