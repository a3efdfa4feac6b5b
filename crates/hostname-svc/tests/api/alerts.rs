//! The alert rules that are shipped.

use std::collections::BTreeSet;

use testbed::workspace_root;

#[test]
fn alerts_ask_for_metrics_that_there_are_and_every_alarming_metric_has_one() {
    let read = |path: &str| std::fs::read_to_string(workspace_root().join(path)).unwrap();
    let rules = read("deploy/monitoring/hostname-svc.rules.yaml");
    let source = read("crates/hostname-svc/src/metrics.rs");
    let word = |c: char| !(c.is_ascii_lowercase() || c == '_');
    let of = |text: &str| -> BTreeSet<String> {
        let names = text
            .split(word)
            .filter(|name| name.starts_with("hostname_"));
        let suffixes = ["_bucket", "_count", "_sum"];
        let plain = names.map(|name| {
            suffixes
                .iter()
                .fold(name, |name, end| name.strip_suffix(end).unwrap_or(name))
        });
        plain.map(str::to_owned).collect()
    };
    let (asked, made) = (of(&rules), of(&source));
    assert!(asked.is_subset(&made), "{:?}", asked.difference(&made));
    // What tells how much is done alarms nobody.
    let quiet = [
        "hostname_batch_requests",
        "hostname_dependency_outages_total",
        "hostname_lock_hold_seconds",
    ];
    let rest: Vec<_> = made.difference(&asked).map(String::as_str).collect();
    assert_eq!(rest, quiet);
}
