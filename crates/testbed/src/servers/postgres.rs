//! Which PostgreSQL is used: the one that `POSTGRES_BIN` names, the one on PATH, or that of Debian's package, which is not on
//! PATH. It is not pinned: the service is to work with what is there, from version 15 on.

use std::{
    env, fs,
    io::{Write, stderr},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result, bail};

/// The oldest major version.
const OLDEST: u32 = 15;

/// The programs that the testbed needs beside `postgres`, in the same directory.
const BESIDE: [&str; 3] = ["initdb", "pg_basebackup", "psql"];

/// The directory of PostgreSQL's programs, told once per process on standard error.
///
/// # Errors
/// When there is none that is new enough; the message says how to get one.
pub fn postgres() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "the testbed has no settings file; these two name programs"
    )]
    let (named, path) = (env::var_os("POSTGRES_BIN"), env::var_os("PATH"));
    let look = || {
        let named = named.filter(|name| !name.is_empty()).map(PathBuf::from);
        let path: Vec<PathBuf> = env::split_paths(&path.unwrap_or_default()).collect();
        find(named.as_deref(), &path, Path::new("/usr/lib/postgresql"))
            .map_err(|error| format!("{error:#}"))
    };
    FOUND.get_or_init(look).clone().map_err(anyhow::Error::msg)
}

fn find(named: Option<&Path>, path: &[PathBuf], packages: &Path) -> Result<PathBuf> {
    if let Some(named) = named {
        return usable(named).with_context(|| format!("POSTGRES_BIN={}", named.display()));
    }
    let packaged = fs::read_dir(packages).into_iter().flatten().flatten();
    let packaged = packaged.map(|version| version.path().join("bin"));
    let candidates = path.iter().cloned().chain(packaged);
    for program in candidates
        .map(|dir| dir.join("postgres"))
        .filter(|it| it.is_file())
    {
        if let Ok(dir) = usable(&program) {
            return Ok(dir);
        }
    }
    bail!(
        "no PostgreSQL {OLDEST} or newer with its programs: install Debian's package `postgresql` or that of your system, \
         or set POSTGRES_BIN to a `postgres` with `initdb` beside it"
    )
}

/// The directory of a `postgres` that is new enough and has the others beside it.
fn usable(program: &Path) -> Result<PathBuf> {
    // On PATH it may be a link to where all of them are.
    let program = fs::canonicalize(program)?;
    let said = Command::new(&program).arg("--version").output()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = major(&said).with_context(|| format!("it does not tell its version: {said}"))?;
    if version < OLDEST {
        bail!("it is version {version}; {OLDEST} or newer is needed");
    }
    let dir = program.parent().context("it has no directory")?.to_owned();
    for other in BESIDE {
        if !dir.join(other).is_file() {
            bail!("{other} is not beside it");
        }
    }
    let _ = writeln!(
        stderr(),
        "testbed: {}, version {version}",
        program.display()
    );
    Ok(dir)
}

/// From `postgres (PostgreSQL) 15.18 (Debian …)`.
fn major(said: &str) -> Option<u32> {
    let version = said.split_once("(PostgreSQL) ")?.1;
    let digits = version
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(version.len());
    version[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;

    #[test]
    fn the_version_is_read_from_what_the_program_says() {
        assert_eq!(
            major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("something else"), None);
    }

    #[test]
    fn a_missing_one_says_how_to_get_it() {
        let scratch = Scratch::new("no-postgres").unwrap();
        let path = [scratch.path().to_owned()];
        let error = find(None, &path, scratch.path()).unwrap_err().to_string();
        assert!(
            error.contains("POSTGRES_BIN") && error.contains("Debian"),
            "{error}"
        );
        let named = find(
            Some(&scratch.path().join("postgres")),
            &path,
            scratch.path(),
        );
        assert!(format!("{:#}", named.unwrap_err()).contains("POSTGRES_BIN="));
    }
}
