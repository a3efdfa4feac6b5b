//! Settings that cannot be used: one line, and exit status 2.

use std::process::Command;

use testbed::Scratch;

#[test]
fn a_setting_that_cannot_be_used_ends_the_process_with_one_line_that_names_it() {
    let binary = testbed::build("hostname-svc").unwrap();
    let data = Scratch::new("hostname-settings").unwrap();
    for (name, value, told) in [
        ("STORE", "consul", "expected `vault` or `embedded`"),
        ("LOCK_URL", "ftp://x", "expected http or https URLs"),
        ("LOCK_URL", ",", "expected http or https URLs"),
        (
            "LOCK_URL",
            "http://a,,http://b",
            "is `http://a,,http://b`: expected http or https URLs",
        ),
        ("LOCK_TTL", "1s", "expected a duration from `2s`"),
        ("BUDGET", "0s", "expected a duration from `100ms`"),
        ("MAX_BATCH", "0", "expected a number from 1 to 1000"),
        ("MAX_BATCH", "", "is set but empty"),
        ("LISTEN", "0.0.0.0:0", "HOSTNAME_SVC_ALLOW_ANONYMOUS=true"),
    ] {
        let output = Command::new(&binary)
            .arg("serve")
            .env("HOSTNAME_SVC_STORE", "embedded")
            .env("HOSTNAME_SVC_LISTEN", "127.0.0.1:0")
            .env("HOSTNAME_SVC_DATA_DIR", data.path())
            .env(format!("HOSTNAME_SVC_{name}"), value)
            .output()
            .unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains(told), "{name}={value}: {line}");
    }
    let written = data.path().read_dir().unwrap().count();
    assert_eq!(written, 0, "no store was opened");
}

#[test]
fn config_refuses_what_serve_refuses() {
    let binary = testbed::build("hostname-svc").unwrap();
    for (name, value) in [
        ("LOCK_TTL", "1s"),
        ("STORE_TIMEOUT", "99ms"),
        ("SWEEP_INTERVAL", "0s"),
        ("MAX_BATCH", "1001"),
        ("STORE_PARALLEL", "0"),
        ("SERVER_READ_TIMEOUT", "999ms"),
    ] {
        let output = Command::new(&binary)
            .arg("config")
            .env(format!("HOSTNAME_SVC_{name}"), value)
            .output()
            .unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {line}");
        let told = format!("(HOSTNAME_SVC_{name}) is `{value}`: expected ");
        assert!(line.contains(&told), "{line}");
    }
}

#[test]
fn vault_without_a_way_to_log_in_is_refused_and_secrets_are_not_shown() {
    let binary = testbed::build("hostname-svc").unwrap();
    let output = Command::new(&binary).arg("serve").output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert!(line.contains("HOSTNAME_SVC_VAULT_TOKEN"), "{line}");

    let shown = Command::new(&binary)
        .arg("config")
        .env("HOSTNAME_SVC_VAULT_TOKEN", "hush-hush")
        .output()
        .unwrap();
    assert!(shown.status.success());
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("HOSTNAME_SVC_VAULT_TOKEN") && !shown.contains("hush-hush"));
}
