//! What is printed: tables for people, JSON for programs, lines for a shell to `eval`.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

/// One line of JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    out.flush()
}

/// A line of text.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Columns under their headings; bold on a terminal.
pub(crate) fn table<const COLUMNS: usize>(
    headings: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let row = |cells: [&str; COLUMNS]| {
        let padded = cells.iter().enumerate().map(|(column, cell)| {
            let room = width(column);
            format!("{cell:room$}")
        });
        let all: Vec<String> = padded.collect();
        all.join("  ").trim_end().to_owned()
    };
    line(&format!("\x1b[1m{}\x1b[0m", row(headings)))?;
    for cells in rows {
        line(&row(cells.each_ref().map(String::as_str)))?;
    }
    Ok(())
}

/// `export` lines; any value is one word to a POSIX shell.
pub(crate) fn exports(variables: &[(&str, String)]) -> io::Result<()> {
    for (name, value) in variables {
        let value = value.replace('\'', r"'\''");
        line(&format!("export {name}='{value}'"))?;
    }
    Ok(())
}

/// A time for people.
pub(crate) fn human(time: Option<Duration>) -> String {
    let Some(time) = time else {
        return "?".to_owned();
    };
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        _ => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Text of others, which may contain what a terminal obeys.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect()
}
