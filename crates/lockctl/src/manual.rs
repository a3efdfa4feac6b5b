//! `completion` and `man`: made from the command line itself.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::cli::{Arguments, Completion};
use crate::exit::Failure;

pub(crate) fn completion(completion: &Completion) -> Result<u8, Failure> {
    let mut command = Arguments::command();
    let mut script = Vec::new();
    clap_complete::generate(completion.shell, &mut command, "lockctl", &mut script);
    io::stdout().write_all(&script)?;
    Ok(0)
}

/// The page of the program, and behind it one of each subcommand.
pub(crate) fn man() -> Result<u8, Failure> {
    let mut command = Arguments::command();
    command.build();
    let mut out = io::stdout().lock();
    clap_mangen::Man::new(command.clone()).render(&mut out)?;
    for subcommand in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        clap_mangen::Man::new(subcommand.clone()).render(&mut out)?;
    }
    Ok(0)
}
