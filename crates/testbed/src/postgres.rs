//! PostgreSQL, alone or with a streaming replica.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::{DirBuilderExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;

use crate::{Launch, Process, Scratch, Signal, free_port, servers, slot::Slot};

/// Recovery after a kill replays the log first.
const READY: Duration = Duration::from_secs(60);

/// Who owns the cluster's databases, in every server that the testbed starts.
const OWNER: &str = "holdfast_owner";

/// Settings of a server that lives for one test, and yet keeps what it commits.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=60",
    "shared_buffers=16MB",
    "max_wal_senders=4",
    "wal_keep_size=64MB",
    "hot_standby=on",
    "autovacuum=off",
];

/// A PostgreSQL server with its data in a directory on disk; a primary, or a replica of one.
///
/// PostgreSQL refuses to run as root: then it runs as the user `postgres`, or `nobody`.
pub struct Postgres {
    port: u16,
    data: PathBuf,
    settings: Vec<String>,
    slot: Slot,
    /// Removed when the server is dropped.
    _scratch: Option<Scratch>,
}

impl Postgres {
    /// Starts a primary with an empty database.
    ///
    /// # Errors
    /// When there is no PostgreSQL, or it does not get ready.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a primary with some more settings, each as `name=value`.
    ///
    /// # Errors
    /// When there is no PostgreSQL, or it does not get ready.
    pub async fn start_with(settings: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("postgres")?;
        let data = give_away(scratch.path(), "data")?;
        init(&data, &["--no-sync"]).await?;
        Self::launch(Some(scratch), data, free_port()?, settings).await
    }

    /// Starts a primary on the data that `dir` may already hold. It outlives the value.
    ///
    /// # Errors
    /// When there is no PostgreSQL, or it does not get ready.
    pub async fn open(dir: &Path, port: u16) -> Result<Self> {
        let data = dir.join("data");
        if !data.exists() {
            fs::create_dir_all(dir)?;
            // What was begun and not ended is no database.
            let begun = dir.join("begun");
            if begun.exists() {
                fs::remove_dir_all(&begun)?;
            }
            init(&give_away(dir, "begun")?, &[]).await?;
            fs::rename(begun, &data)?;
        }
        Self::launch(None, data, port, &["autovacuum=on"]).await
    }

    /// Starts a replica that streams from this server.
    ///
    /// # Errors
    /// When the copy fails, or it does not get ready.
    pub async fn replica(&self) -> Result<Self> {
        let scratch = Scratch::new("postgres-replica")?;
        let data = give_away(scratch.path(), "data")?;
        let mut copy = tool("pg_basebackup")?;
        copy.arg("--pgdata")
            .arg(&data)
            .args(["--host", "127.0.0.1", "--port", &self.port.to_string()])
            .args([
                "--username",
                OWNER,
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
            ]);
        run(copy).await?;
        Self::launch(Some(scratch), data, free_port()?, &[]).await
    }

    async fn launch(
        scratch: Option<Scratch>,
        data: PathBuf,
        port: u16,
        settings: &[&str],
    ) -> Result<Self> {
        let settings = [SETTINGS, settings].concat();
        let settings: Vec<String> = settings.into_iter().map(str::to_owned).collect();
        let process = spawn(&data, port, &settings)?;
        let server = Self {
            port,
            data,
            settings,
            slot: Slot::new(process),
            _scratch: scratch,
        };
        server.ready().await?;
        Ok(server)
    }

    /// Where the owner of the database connects: `postgres://…`.
    pub fn url(&self) -> String {
        self.url_of(OWNER)
    }

    /// Where a role connects that was made in the server.
    pub fn url_of(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/postgres", self.port)
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL as the owner and gives what it printed, without decoration.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub async fn sql(&self, sql: &str) -> Result<String> {
        let mut psql = tool("psql")?;
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--command", sql])
            .arg(self.url());
        run(psql).await
    }

    /// Its process.
    pub fn process(&self) -> Arc<Process> {
        self.slot.current()
    }

    /// Ends it as a crash does: nothing is written any more, and the next start recovers from the log.
    /// SIGKILL would leave its backends, which go on for a while without it.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn crash(&self) -> Result<()> {
        self.end(Signal::QUIT).await
    }

    /// Ends it in order, its connections cut.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&self) -> Result<()> {
        self.end(Signal::INT).await
    }

    /// Starts it again on its data and its port, after a crash if it still runs.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn restart(&self) -> Result<()> {
        if self.process().exit_status().is_none() {
            self.crash().await?;
        }
        self.slot
            .replace(spawn(&self.data, self.port, &self.settings)?);
        self.ready().await
    }

    async fn end(&self, how: Signal) -> Result<()> {
        let process = self.process();
        process.signal(how)?;
        tokio::time::timeout(READY, process.ended())
            .await
            .context("PostgreSQL does not end")??;
        Ok(())
    }

    async fn ready(&self) -> Result<()> {
        let asked = async || self.sql("SELECT 1").await;
        self.process().ready(READY, asked).await?;
        Ok(())
    }
}

fn spawn(data: &Path, port: u16, settings: &[String]) -> Result<Process> {
    let program = servers::postgres()?.join("postgres");
    let mut line: Vec<OsString> = unprivileged()?;
    line.push(program.into());
    line.extend([
        "-D".into(),
        data.into(),
        "-p".into(),
        port.to_string().into(),
    ]);
    for setting in settings {
        line.extend(["-c".into(), setting.into()]);
    }
    let mut line = line.into_iter();
    let program = line.next().context("no program")?;
    Launch::new("postgres", program).args(line).spawn()
}

/// Makes an empty cluster in the directory `data`.
async fn init(data: &Path, more: &[&str]) -> Result<()> {
    let mut initdb = tool("initdb")?;
    initdb
        .arg("--pgdata")
        .arg(data)
        .args(["--username", OWNER])
        .args(["--auth", "trust", "--encoding", "UTF8", "--no-locale"])
        .args(more);
    run(initdb).await?;
    Ok(())
}

/// One of PostgreSQL's programs, to be run by whoever may run it.
fn tool(name: &str) -> Result<Command> {
    let mut line = unprivileged()?;
    line.push(servers::postgres()?.join(name).into());
    let mut line = line.into_iter();
    let mut command = Command::new(line.next().context("no program")?);
    command.args(line).env_remove("PGOPTIONS").current_dir("/");
    Ok(command)
}

async fn run(mut command: Command) -> Result<String> {
    let said = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// What runs the rest of a command line as somebody who is not root; nothing when we are not.
fn unprivileged() -> Result<Vec<OsString>> {
    let Some((user, group)) = other_user()? else {
        return Ok(Vec::new());
    };
    let (user, group) = (format!("--reuid={user}"), format!("--regid={group}"));
    let line = [
        "setpriv",
        &user,
        &group,
        "--clear-groups",
        "--pdeathsig",
        "KILL",
        "--",
    ];
    Ok(line.into_iter().map(OsString::from).collect())
}

/// The numbers of the user and group to run as, when we are root.
fn other_user() -> Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let found = ["postgres", "nobody"].into_iter().find_map(|name| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    found
        .map(Some)
        .context("root may not run PostgreSQL, and there is no user `postgres` or `nobody`")
}

/// A new directory below `dir`, owned by whoever runs the server.
fn give_away(dir: &Path, name: &str) -> Result<PathBuf> {
    let data = dir.join(name);
    fs::DirBuilder::new().mode(0o700).create(&data)?;
    if let Some((user, group)) = other_user()? {
        chown(&data, Some(user), Some(group))?;
    }
    Ok(data)
}
