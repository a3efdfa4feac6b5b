//! The subcommands beside `serve`: calls of a running service, and care for its store.

mod bar;
mod calls;
mod database;
mod piecemeal;
mod upkeep;

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use futures_util::FutureExt;
use service_kit::cli::Subcommand;

use crate::settings::Settings;

/// All of them.
#[must_use]
pub fn all() -> Vec<Subcommand<Settings>> {
    let file = |help: &'static str| {
        Arg::new("file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    let url = Arg::new("url")
        .long("url")
        .value_name("URL")
        .help("Where the service listens, when not where the settings say");
    vec![
        Subcommand {
            command: Command::new("put")
                .about("Keep a message and print its digest")
                .arg(file("The message; standard input without it"))
                .arg(url.clone()),
            run: |settings, args| calls::put(settings, args).boxed_local(),
        },
        Subcommand {
            command: Command::new("get")
                .about("Print the message with a digest, after hashing it again")
                .arg(Arg::new("digest").value_name("DIGEST").required(true))
                .arg(url),
            run: |settings, args| calls::get(settings, args).boxed_local(),
        },
        Subcommand {
            command: Command::new("backup")
                .about("Write the embedded store into a file, also while the service uses it")
                .arg(file("Where to write").required(true)),
            run: |settings, args| upkeep::backup(settings, args).boxed_local(),
        },
        Subcommand {
            command: Command::new("verify")
                .about("Read a backup to its end and hash every message in it")
                .arg(file("The backup").required(true)),
            run: |_, args| upkeep::verify(args).boxed_local(),
        },
        Subcommand {
            command: Command::new("restore")
                .about("Make the embedded store of a backup, where there is none yet")
                .arg(file("The backup").required(true)),
            run: |settings, args| upkeep::restore(settings, args).boxed_local(),
        },
        Subcommand {
            command: Command::new("scrub")
                .about("Hash every message in the store, also while the service uses it"),
            run: |settings, _| upkeep::scrub(settings).boxed_local(),
        },
        Subcommand {
            command: Command::new("migrate")
                .about("Bring the databases of all shards to the schema of this version")
                .arg(
                    Arg::new("url")
                        .long("url")
                        .value_name("URL")
                        .help("One database, as its owner: postgres://owner@host/database"),
                )
                .arg(
                    Arg::new("to")
                        .long("to")
                        .value_name("VERSION")
                        .value_parser(value_parser!(i64))
                        .help("No further than this version"),
                )
                .arg(
                    Arg::new("grant").long("grant").value_name("ROLE").help(
                        "Let this role, as which the service connects, read and write messages",
                    ),
                ),
            run: |settings, args| database::migrate(settings, args).boxed_local(),
        },
        Subcommand {
            command: Command::new("copy").about(
                "Copy the embedded store into PostgreSQL, every message hashed before and after",
            ),
            run: |settings, _| database::copy(settings).boxed_local(),
        },
        Subcommand {
            command: Command::new("rebalance").about(
                "Move messages from the shards of POSTGRES_ALSO_READ to where they live now",
            ),
            run: |settings, _| database::rebalance(settings).boxed_local(),
        },
    ]
}

fn file_of(args: &ArgMatches) -> PathBuf {
    args.get_one::<PathBuf>("file").cloned().unwrap_or_default()
}
