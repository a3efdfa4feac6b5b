//! The command line that every service has: `serve`, `config`, `openapi`, `healthcheck`; and what one service adds to it.

use std::{
    future::Future,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Arg, ArgMatches, Command, value_parser};
use futures_util::future::LocalBoxFuture;
use tracing::{error, warn};

use crate::{
    openapi::Document,
    settings::{Loaded, Section, SettingsError, load},
    telemetry::{self, TelemetrySettings},
};

/// A service, as its command line shows it.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Name of the binary and of the service in traces.
    pub name: &'static str,
    /// One sentence for `--help`.
    pub about: &'static str,
    /// `CARGO_PKG_VERSION` of the service.
    pub version: &'static str,
    /// Log directives that hold whatever the level is.
    pub quiet: &'static str,
    /// What it tells of its API.
    pub document: Document,
}

/// Settings of a whole service.
pub trait ServiceSettings: Section {
    /// What the environment variables begin with, without the underscore.
    const PREFIX: &'static str;

    /// Where the service listens.
    fn listen(&self) -> SocketAddr;

    /// What it tells of itself.
    fn telemetry(&self) -> &TelemetrySettings;
}

/// A subcommand that one service alone has. It runs on a runtime and without logs: what it has to say
/// it prints.
pub struct Subcommand<S> {
    /// Its name, its arguments, its help.
    pub command: Command,
    /// What it does.
    pub run: fn(S, ArgMatches) -> LocalBoxFuture<'static, anyhow::Result<()>>,
}

const USAGE: u8 = 2;

/// Runs the command line. `serve` is called with the settings, on a runtime, with logs on.
pub fn run<S, F>(program: Program, serve: impl FnOnce(S) -> F) -> ExitCode
where
    S: ServiceSettings,
    F: Future<Output = anyhow::Result<()>>,
{
    run_with(program, serve, &[])
}

/// Runs the command line with some more subcommands.
pub fn run_with<S, F>(
    program: Program,
    serve: impl FnOnce(S) -> F,
    own: &[Subcommand<S>],
) -> ExitCode
where
    S: ServiceSettings,
    F: Future<Output = anyhow::Result<()>>,
{
    let own_commands = own.iter().map(|own| own.command.clone());
    let mut command = command(program).subcommands(own_commands);
    let matches = command.clone().get_matches();
    let done = match matches.subcommand() {
        Some(("serve", args)) => return serve_until_stopped(program, load_settings(args), serve),
        Some(("config", args)) => {
            load_settings::<S>(args).and_then(|loaded| Ok(print_table::<S>(&loaded)?))
        }
        Some(("openapi", _)) => print_document(program),
        Some(("healthcheck", args)) => {
            load_settings::<S>(args).and_then(|loaded| healthcheck(loaded.settings.listen()))
        }
        Some((name, args)) => run_own(own, name, args),
        None => command.print_help().map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => fail(program, &err),
    }
}

fn run_own<S: ServiceSettings>(
    own: &[Subcommand<S>],
    name: &str,
    args: &ArgMatches,
) -> anyhow::Result<()> {
    let found = own.iter().find(|own| own.command.get_name() == name);
    let found = found.with_context(|| format!("no subcommand {name}"))?;
    let settings = load_settings(args)?.settings;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on((found.run)(settings, args.clone()))
}

fn command(program: Program) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        // Before the subcommand as behind it.
        .global(true)
        .help("TOML file of settings; the environment wins over it");
    Command::new(program.name)
        .version(program.version)
        .about(program.about)
        .arg(config)
        .subcommand(Command::new("serve").about("Answer requests until SIGTERM or SIGINT"))
        .subcommand(Command::new("config").about(
            "Print every setting: environment variable, meaning, what is allowed, default, value",
        ))
        .subcommand(Command::new("openapi").about("Print the OpenAPI document of the API"))
        .subcommand(
            Command::new("healthcheck")
                .about("Ask the service on this machine whether it is ready"),
        )
}

fn load_settings<S: ServiceSettings>(args: &ArgMatches) -> anyhow::Result<Loaded<S>> {
    Ok(load(
        S::PREFIX,
        args.get_one::<PathBuf>("config").map(PathBuf::as_path),
    )?)
}

fn serve_until_stopped<S, F>(
    program: Program,
    loaded: anyhow::Result<Loaded<S>>,
    serve: impl FnOnce(S) -> F,
) -> ExitCode
where
    S: ServiceSettings,
    F: Future<Output = anyhow::Result<()>>,
{
    let started = loaded.and_then(|loaded| {
        let telemetry = telemetry::init(program.name, loaded.settings.telemetry(), program.quiet)?;
        Ok((
            loaded,
            telemetry,
            tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?,
        ))
    });
    let (loaded, _telemetry, runtime) = match started {
        Ok(started) => started,
        Err(err) => return fail(program, &err),
    };
    for name in &loaded.unknown {
        warn!(
            "the environment variable {name} is no setting of {}",
            program.name
        );
    }
    match runtime.block_on(serve(loaded.settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) if err.is::<SettingsError>() => fail(program, &err),
        Err(err) => {
            error!("{} ends: {err:#}", program.name);
            ExitCode::FAILURE
        }
    }
}

/// One line on standard error; a setting that cannot be used ends with 2, anything else with 1.
fn fail(program: Program, err: &anyhow::Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "{}: {err:#}", program.name);
    if err.is::<SettingsError>() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::FAILURE
    }
}

fn print_table<S: ServiceSettings>(loaded: &Loaded<S>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (setting, value) in &loaded.values {
        writeln!(out, "{}_{}", S::PREFIX, setting.env)?;
        writeln!(out, "    {}", setting.meaning)?;
        writeln!(out, "    file:    {}", setting.path)?;
        writeln!(out, "    allowed: {}", setting.allowed)?;
        writeln!(out, "    default: {}", setting.default.unwrap_or("(none)"))?;
        writeln!(
            out,
            "    value:   {}\n",
            value.as_deref().unwrap_or("(none)")
        )?;
    }
    Ok(())
}

fn print_document(program: Program) -> anyhow::Result<()> {
    let text = (program.document)().to_pretty_json()?;
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Asks `/readyz` over a plain socket: containers without curl have nothing else.
fn healthcheck(mut address: SocketAddr) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(3);
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).unwrap_or("no status");
    anyhow::ensure!(status == "200", "{address} is not ready: {status}");
    Ok(())
}
