//! What every binary is made of: the tree is held to `.deny.toml`, which cargo-deny can read too. Building cargo-deny takes
//! longer than building all of our own.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;
use testbed::workspace_root;

/// The file, as JSON.
fn rules() -> Value {
    let text = std::fs::read_to_string(workspace_root().join(".deny.toml")).unwrap();
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

struct Package {
    name: String,
    version: String,
    licence: String,
}

/// Every package that is compiled for some target, for our binaries or for our tests.
fn packages() -> Vec<Package> {
    let mut cargo = Command::new(env!("CARGO"));
    // Not from `cargo metadata`, which also tells what no feature in use asks for.
    cargo.args([
        "tree",
        "--locked",
        "--workspace",
        "--target",
        "all",
        "--prefix",
        "none",
        "--no-dedupe",
    ]);
    cargo
        .args(["--format", "{p}\t{l}"])
        .current_dir(workspace_root());
    let output = cargo.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    // One tree a crate of ours, with an empty line between two.
    let lines: BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    lines.into_iter().map(package).collect()
}

/// From `name v1.2.3 (where from)` and the licence.
fn package(line: &str) -> Package {
    let (package, licence) = line.split_once('\t').unwrap();
    let mut words = package.split(' ').map(str::to_owned);
    let (name, version) = (words.next().unwrap(), words.next().unwrap());
    Package {
        name,
        version,
        // A crate whose tests ask more of it than others do stands below itself, marked as seen.
        licence: licence.trim_end_matches(" (*)").to_owned(),
    }
}

/// Whether an SPDX expression leaves a way with `allowed` licences alone. `/` is the old way to write OR.
fn is_allowed(expression: &str, allowed: &[Value]) -> bool {
    let expression = expression.trim();
    let one_of = parts(expression, &[" OR ", "/"]);
    let all_of = parts(expression, &[" AND "]);
    if one_of.len() > 1 {
        one_of.iter().any(|part| is_allowed(part, allowed))
    } else if all_of.len() > 1 {
        all_of.iter().all(|part| is_allowed(part, allowed))
    } else if let Some(inner) = expression
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
    {
        is_allowed(inner, allowed)
    } else {
        allowed.iter().any(|licence| licence == expression)
    }
}

/// Splits at those words that stand outside of parentheses.
fn parts<'a>(expression: &'a str, words: &[&str]) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in expression.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        let here = words
            .iter()
            .find(|word| depth == 0 && at >= start && expression[at..].starts_with(**word));
        if let Some(word) = here {
            parts.push(&expression[start..at]);
            start = at + word.len();
        }
    }
    parts.push(&expression[start..]);
    parts
}

#[test]
fn what_may_be_there_once_is_there_once_and_what_may_not_be_there_is_not() {
    let packages = packages();
    for ban in rules()["bans"]["deny"].as_array().unwrap() {
        let named = packages
            .iter()
            .filter(|package| ban["name"] == *package.name);
        let found: BTreeSet<&str> = named.map(|package| package.version.as_str()).collect();
        let may = usize::from(ban["deny-multiple-versions"] == true);
        assert_eq!(found.len(), may, "{}: {found:?}", ban["name"]);
    }
}

#[test]
fn every_licence_is_permissive() {
    let rules = rules();
    let allowed = rules["licenses"]["allow"].as_array().unwrap();
    for package in packages() {
        let licence = &package.licence;
        assert!(
            is_allowed(licence, allowed),
            "{}: {licence:?}",
            package.name
        );
    }
}

#[test]
fn an_expression_is_allowed_only_when_a_way_through_it_is() {
    let allowed = [Value::from("MIT"), Value::from("ISC")];
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "(GPL-3.0 OR MIT) AND ISC",
        "ISC AND (MIT)",
    ] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "MIT WITH x",
    ] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}
