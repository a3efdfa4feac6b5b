//! Settings: what is taken, what is refused, and in which words.

use std::process::Output;

use tokio::process::Command;

/// Runs a subcommand with these variables and nothing else.
pub(crate) async fn run(subcommand: &str, settings: &[(&str, &str)]) -> Output {
    let binary = tokio::task::spawn_blocking(|| testbed::build("shared-lock-svc"));
    Command::new(binary.await.unwrap().unwrap())
        .arg(subcommand)
        .env_clear()
        .envs(settings.iter().copied())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_bad_value_ends_the_process_with_one_line_that_says_what_is_allowed() {
    for (name, value, line) in [
        (
            "SERVER_PORT",
            "http",
            "setting server_port (SHARED_LOCK_SERVER_PORT) is `http`: expected a port number",
        ),
        (
            "SERVER_PORT",
            "",
            "setting server_port (SHARED_LOCK_SERVER_PORT) is set but empty: expected a port number",
        ),
        (
            "SERVER_READ_TIMEOUT",
            "10",
            "setting server.read_timeout (SHARED_LOCK_SERVER_READ_TIMEOUT) is `10`, without a unit: expected a duration",
        ),
        (
            "SERVER_WRITE_TIMEOUT",
            "x",
            "setting write_timeout (SHARED_LOCK_SERVER_WRITE_TIMEOUT) is `x`: expected a duration such as `10s`",
        ),
        (
            "SERVER_IDLE_TIMEOUT",
            "x",
            "setting server.idle_timeout (SHARED_LOCK_SERVER_IDLE_TIMEOUT) is `x`: expected a duration",
        ),
        (
            "SERVER_SHUTDOWN_TIMEOUT",
            "x",
            "setting server.shutdown_timeout (SHARED_LOCK_SERVER_SHUTDOWN_TIMEOUT) is `x`: expected a duration",
        ),
        (
            "PPROF_ENABLED",
            "yes",
            "setting pprof_enabled (SHARED_LOCK_PPROF_ENABLED) is `yes`: expected `true` or `false`",
        ),
        (
            "DEBUG",
            "on",
            "setting debug (SHARED_LOCK_DEBUG) is `on`: expected `true` or `false`",
        ),
        (
            "CACHE_ENABLED",
            "2",
            "setting cache_enabled (SHARED_LOCK_CACHE_ENABLED) is `2`: expected `true` or `false`",
        ),
        (
            "CACHE_SIZE",
            "many",
            "setting cache_size (SHARED_LOCK_CACHE_SIZE) is `many`: expected a number up to 9223372036854775807",
        ),
        (
            "ETCD_TLS",
            "x",
            "setting etcd.tls (SHARED_LOCK_ETCD_TLS) is `x`: expected `true` or `false`",
        ),
        (
            "STORAGE_TYPE",
            "redis",
            "setting storage_type (SHARED_LOCK_STORAGE_TYPE) is `redis`: expected `etcd`, `vault`, `s3`, `embedded`, `memory` or `mock` (the same as `memory`)",
        ),
        (
            "ETCD_ADDR_LIST",
            "http://a:2379;http://b:2379",
            "setting etcd.addr_list (SHARED_LOCK_ETCD_ADDR_LIST) is `http://a:2379;http://b:2379`: expected URLs with `,` between them and no blanks, such as `http://a:2379,http://b:2379`",
        ),
        (
            "ETCD_ADDR_LIST",
            "",
            "setting etcd.addr_list (SHARED_LOCK_ETCD_ADDR_LIST) is set but empty: expected URLs with `,` between them and no blanks, such as `http://a:2379,http://b:2379`",
        ),
        (
            "CACHE_SIZE",
            "18446744073709551615",
            "setting cache_size (SHARED_LOCK_CACHE_SIZE) is `18446744073709551615`: expected a number up to 9223372036854775807",
        ),
        (
            "ETCD_ADDR_LIST",
            "foo",
            "setting etcd.addr_list (SHARED_LOCK_ETCD_ADDR_LIST) is `foo`: expected URLs with `,` between them and no blanks, such as `http://a:2379,http://b:2379`",
        ),
        (
            "ETCD_TIMEOUT",
            "0s",
            "setting etcd.timeout (SHARED_LOCK_ETCD_TIMEOUT) is `0s`: expected a duration from `100ms`",
        ),
        (
            "MAX_TTL",
            "0s",
            "setting limits.max_ttl (SHARED_LOCK_MAX_TTL) is `0s`: expected a duration from `1s`",
        ),
        (
            "SERVER_WORKERS",
            "513",
            "setting server.workers (SHARED_LOCK_SERVER_WORKERS) is `513`: expected a number from 0 to 512",
        ),
        (
            "SERVER_BODY_LIMIT",
            "0",
            "setting server.body_limit (SHARED_LOCK_SERVER_BODY_LIMIT) is `0`: expected a number of bytes from 1 to 1073741824",
        ),
        (
            "LOG_LEVEL",
            "loud",
            "setting telemetry.log_level (SHARED_LOCK_LOG_LEVEL) is `loud`: expected `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,hyper=warn`",
        ),
        (
            "TOKEN_EPOCH",
            "a\nb",
            r"setting token_epoch (SHARED_LOCK_TOKEN_EPOCH) is `a\nb`: expected a text of 1 to 64 characters",
        ),
        (
            "SERVER_ADDRESS",
            "0.0.0.0",
            "listening on 0.0.0.0:8080 lets everybody who reaches it call the service: set SHARED_LOCK_ALLOW_ANONYMOUS=true if that is meant, or listen on a loopback address",
        ),
    ] {
        let name = format!("SHARED_LOCK_{name}");
        let ended = run("serve", &[(&name, value)]).await;
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{name}={value}: {told}");
        assert!(
            told.starts_with(&format!("shared-lock-svc: {line}")),
            "{told}"
        );
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[tokio::test]
async fn settings_that_do_not_go_together_are_refused() {
    for (settings, names) in [
        (
            &[("SHARED_LOCK_ETCD_USER", "u")][..],
            "SHARED_LOCK_ETCD_PASSWORD",
        ),
        (
            &[
                ("SHARED_LOCK_ETCD_TLS", "true"),
                ("SHARED_LOCK_CLIENT_KEY_PATH", ""),
            ],
            "SHARED_LOCK_CLIENT_CERT_PATH",
        ),
        (
            &[
                ("SHARED_LOCK_ETCD_TLS", "true"),
                ("SHARED_LOCK_CA_CERT_PATH", ""),
            ],
            "SHARED_LOCK_CA_CERT_PATH",
        ),
        (
            &[
                ("SHARED_LOCK_ETCD_TLS", "true"),
                ("SHARED_LOCK_ETCD_ADDR_LIST", "https://a:2379,http://b:2379"),
            ],
            "setting etcd.addr_list (SHARED_LOCK_ETCD_ADDR_LIST) names `http://b:2379`: expected https URLs with SHARED_LOCK_ETCD_TLS=true",
        ),
        (
            &[("SHARED_LOCK_STORAGE_TYPE", "vault")],
            "SHARED_LOCK_VAULT_TOKEN",
        ),
        (
            &[
                ("SHARED_LOCK_STORAGE_TYPE", "vault"),
                ("SHARED_LOCK_VAULT_TOKEN", "t"),
                ("SHARED_LOCK_VAULT_FOLDER", "a/../b"),
            ],
            "SHARED_LOCK_VAULT_FOLDER",
        ),
        (
            &[
                ("SHARED_LOCK_STORAGE_TYPE", "vault"),
                ("SHARED_LOCK_VAULT_TOKEN", "t"),
                ("SHARED_LOCK_MAX_LOCKS_PER_HOLDER", "5"),
            ],
            "SHARED_LOCK_MAX_LOCKS_PER_HOLDER",
        ),
        (
            &[
                ("SHARED_LOCK_STORAGE_TYPE", "vault"),
                ("SHARED_LOCK_VAULT_TOKEN", "t"),
                ("SHARED_LOCK_VAULT_ADDR", "ftp://a"),
            ],
            "SHARED_LOCK_VAULT_ADDR",
        ),
        (
            &[("SHARED_LOCK_STORAGE_TYPE", "s3")],
            "SHARED_LOCK_S3_BUCKET",
        ),
        (
            &[
                ("SHARED_LOCK_STORAGE_TYPE", "s3"),
                ("SHARED_LOCK_S3_BUCKET", "B"),
            ],
            "SHARED_LOCK_S3_BUCKET",
        ),
        (
            &[
                ("SHARED_LOCK_STORAGE_TYPE", "s3"),
                ("SHARED_LOCK_S3_BUCKET", "locks"),
                ("SHARED_LOCK_S3_ACCESS_KEY", "a"),
            ],
            "SHARED_LOCK_S3_SECRET_KEY",
        ),
        (
            &[
                ("SHARED_LOCK_STORAGE_TYPE", "s3"),
                ("SHARED_LOCK_S3_BUCKET", "locks"),
                ("SHARED_LOCK_S3_ENDPOINT", "http://a/b"),
            ],
            "SHARED_LOCK_S3_ENDPOINT",
        ),
    ] {
        let ended = run("serve", settings).await;
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{told}");
        assert!(told.contains(names), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

/// A deployment of tentens-tech/shared-lock brings its environment along, and what its cluster and
/// its shell put there.
#[tokio::test]
async fn the_environment_of_the_old_wire_is_understood() {
    let shown = run(
        "config",
        &[
            ("SHARED_LOCK_SERVER_PORT", "8191"),
            ("SHARED_LOCK_SERVER_READ_TIMEOUT", "1m30s"),
            ("SHARED_LOCK_PPROF_ENABLED", "F"),
            ("SHARED_LOCK_STORAGE_TYPE", "etcd"),
            (
                "SHARED_LOCK_ETCD_ADDR_LIST",
                "https://a:2379,https://b:2379",
            ),
            ("SHARED_LOCK_ETCD_TLS", "T"),
            ("SHARED_LOCK_CA_CERT_PATH", "/ca.crt"),
            ("SHARED_LOCK_CLIENT_CERT_PATH", ""),
            ("SHARED_LOCK_CLIENT_KEY_PATH", ""),
            ("SHARED_LOCK_CACHE_ENABLED", "0"),
            ("SHARED_LOCK_CACHE_SIZE", "-1"),
            ("SHARED_LOCK_DEBUG", "FALSE"),
            ("SHARED_LOCK_ETCD_PASSWORD", "hush"),
            ("SHARED_LOCK_PORT", "tcp://10.0.0.1:8080"),
        ],
    )
    .await;
    assert!(shown.status.success(), "{shown:?}");
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(!shown.contains("hush"), "{shown}");
    let value = |name: &str| {
        let (_, after) = shown.split_once(&format!("SHARED_LOCK_{name}\n")).unwrap();
        let line = after.lines().find(|line| line.contains("value:")).unwrap();
        line.split_once("value:").unwrap().1.trim().to_owned()
    };
    assert_eq!(value("SERVER_PORT"), "8191");
    assert_eq!(value("SERVER_READ_TIMEOUT"), "1m30s");
    assert_eq!(value("ETCD_ADDR_LIST"), "https://a:2379,https://b:2379");
    assert_eq!(value("CLIENT_CERT_PATH"), "(none)");
    assert_eq!(value("ETCD_PASSWORD"), "(set)");
    assert_eq!(value("SERVER_IDLE_TIMEOUT"), "120s");
}
