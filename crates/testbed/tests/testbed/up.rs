//! `just up`: what it starts, what it leaves behind.

use std::{process::Command, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};
use testbed::{Launch, Process, Scratch, build, eventually, free_ports};

use crate::processes::runs;

const SERVICES: [&str; 3] = ["shared-lock-svc", "hostname-svc", "message-hash-svc"];
/// Three services, four ports of etcd and OpenBao, one of PostgreSQL.
const PORTS: u16 = 8;
const LONG: Duration = Duration::from_secs(60);

/// A place for one run after the other.
struct Place {
    dir: Scratch,
    first_port: u16,
}

impl Place {
    fn new() -> Self {
        // They lie beside `up`, which starts them from there.
        SERVICES
            .iter()
            .for_each(|service| drop(build(service).unwrap()));
        Self {
            dir: Scratch::new("up").unwrap(),
            first_port: free_ports(PORTS).unwrap(),
        }
    }

    fn up(&self, mode: &str) -> Process {
        let first_port = self.first_port.to_string();
        Launch::new("up", env!("CARGO_BIN_EXE_up"))
            .args([mode, "--first-port", &first_port, "--dir"])
            .args([self.dir.path()])
            .spawn()
            .unwrap()
    }

    /// Starts a run and waits until it says that all works.
    async fn running(&self, mode: &str) -> Process {
        let up = self.up(mode);
        tokio::select! {
            ended = up.ended() => panic!("{}: {}", ended.unwrap(), up.log().text()),
            told = up.log().wait_for("so everything works", LONG) => told.unwrap(),
        }
        up
    }

    async fn message(
        &self,
        call: impl Fn(reqwest::Client, String) -> reqwest::RequestBuilder,
    ) -> Value {
        let url = format!("http://127.0.0.1:{}/messages", self.first_port + 2);
        let answer = call(reqwest::Client::new(), url).send().await.unwrap();
        answer.json().await.unwrap()
    }

    async fn hostname(&self) -> Value {
        let url = format!("http://127.0.0.1:{}/v1/hostnames", self.first_port + 1);
        let body = json!({ "application": "splunk", "role": "web", "environment": "dev" });
        let answer = reqwest::Client::new()
            .post(url)
            .json(&body)
            .send()
            .await
            .unwrap();
        answer.json::<Value>().await.unwrap()["hostname"].clone()
    }
}

/// The children of a run: number and command line.
fn children(up: &Process) -> Vec<(u32, String)> {
    let listed = Command::new("ps")
        .args(["-o", "pid=,args=", "--ppid", &up.pid().to_string()])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let child = |line: &str| {
        let (pid, args) = line.trim().split_once(' ').unwrap();
        (pid.parse().unwrap(), args.to_owned())
    };
    listed.lines().map(child).collect()
}

async fn all_are_gone(children: &[(u32, String)]) {
    let gone = async || match children.iter().find(|(pid, _)| runs(*pid)) {
        Some((_, args)) => anyhow::bail!("{args} still runs"),
        None => Ok(()),
    };
    eventually("the end of all children", LONG, gone)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_terminated_run_ends_well_and_leaves_no_process() {
    let place = Place::new();
    let up = place.running("embedded").await;
    let children = children(&up);
    assert_eq!(children.len(), SERVICES.len(), "{children:?}");
    assert!(up.terminate(LONG).await.unwrap().success());
    all_are_gone(&children).await;
}

/// `just`, which gets the Ctrl-C too, prints an error unless what it runs ends like this.
#[tokio::test]
async fn an_interrupted_run_says_so_by_its_exit_code_alone() {
    let place = Place::new();
    let up = place.running("embedded").await;
    let children = children(&up);
    up.signal(Signal::INT).unwrap();
    assert_eq!(up.ended().await.unwrap().code(), Some(130));
    assert!(!up.log().contains("error"), "{}", up.log().text());
    all_are_gone(&children).await;
}

#[tokio::test]
async fn the_proof_leaves_the_counters_of_others_alone_and_names_outlive_a_run() {
    let place = Place::new();
    let first = place.running("embedded").await;
    assert_eq!(place.hostname().await, "splunkweb1dev");
    assert!(first.terminate(LONG).await.unwrap().success());
    let second = place.running("embedded").await;
    assert!(second.log().contains("holdfastproof2local was made"));
    assert_eq!(place.hostname().await, "splunkweb2dev");
}

#[tokio::test]
async fn a_killed_run_takes_its_children_with_it() {
    let place = Place::new();
    let up = place.running("embedded").await;
    let children = children(&up);
    up.kill().unwrap();
    all_are_gone(&children).await;
}

#[tokio::test]
async fn a_service_that_dies_is_told_and_ends_the_rest() {
    let place = Place::new();
    let up = place.running("embedded").await;
    let children = children(&up);
    let (hostname, _) = children
        .iter()
        .find(|(_, args)| args.contains("hostname-svc"))
        .unwrap();
    assert!(
        Command::new("kill")
            .args(["-KILL", &hostname.to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(up.ended().await.unwrap().code(), Some(1));
    assert!(
        up.log().contains("hostname-svc ended by itself: signal: 9"),
        "{}",
        up.log().text()
    );
    all_are_gone(&children).await;
}

#[tokio::test]
async fn taken_ports_are_named_in_one_line_before_anything_starts() {
    let place = Place::new();
    let taken = place.first_port + 2;
    let _listener = std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let up = place.up("embedded");
    assert_eq!(up.ended().await.unwrap().code(), Some(1));
    let said = format!(
        "error: these ports are taken, nothing was started: {taken} (for message-hash-svc); \
         `just up --first-port {}` takes others\n",
        place.first_port + 1000
    );
    assert_eq!(up.log().text(), said);
}

#[tokio::test]
async fn a_second_run_is_told_of_the_first_and_down_ends_it() {
    let place = Place::new();
    let up = place.running("embedded").await;
    let second = place.up("embedded");
    assert_eq!(second.ended().await.unwrap().code(), Some(1));
    assert!(
        second
            .log()
            .contains(&format!("it runs already (process {})", up.pid()))
    );
    let down = place.up("down");
    assert!(down.ended().await.unwrap().success());
    assert!(up.ended().await.unwrap().success());
    assert!(
        place.up("down").ended().await.unwrap().success(),
        "nothing runs, nothing fails"
    );
}

#[tokio::test]
async fn real_servers_keep_their_data_and_their_keys_from_run_to_run() {
    let mut place = Place::new();
    let first = place.running("real").await;
    assert_eq!(children(&first).len(), SERVICES.len() + 3);
    says_where_all_is_and_nothing_of_the_stores(&place, &first);
    assert_eq!(place.hostname().await, "splunkweb1dev");
    let body = json!({ "message": "foo" });
    let posted = place
        .message(|client, url| client.post(url).json(&body))
        .await;
    assert!(first.terminate(LONG).await.unwrap().success());
    // Elsewhere, on the same data.
    place.first_port = free_ports(PORTS).unwrap();
    let second = place.running("real").await;
    assert_eq!(place.hostname().await, "splunkweb2dev");
    let digest = posted["digest"].as_str().unwrap();
    let found = place
        .message(|client, url| client.get(format!("{url}/{digest}")))
        .await;
    assert_eq!(found, body);
    let keys = Command::new("stat")
        .args(["-c", "%a"])
        .arg(place.dir.path().join("real/openbao/keys.json"))
        .output();
    assert_eq!(keys.unwrap().stdout, b"600\n");
    second.terminate(LONG).await.unwrap();
}

/// The stores have log files of their own.
fn says_where_all_is_and_nothing_of_the_stores(place: &Place, up: &Process) {
    let said = up.log().text();
    let real = place.dir.path().join("real");
    let logs = ["log/etcd.log", "log/openbao.log", "log/postgres.log"];
    for told in logs.into_iter().chain(["openbao/keys.json", "\n"]) {
        let told = format!("{}/{told}", real.display());
        assert!(said.contains(&told), "{told} is missing: {said}");
    }
    for (store, line) in [
        ("etcd", "\"level\":"),
        ("openbao", "OpenBao server started!"),
        ("postgres", "database system is ready"),
    ] {
        let log = std::fs::read_to_string(real.join(format!("log/{store}.log"))).unwrap();
        assert!(log.contains(line), "{log}");
        assert!(!said.contains(line), "{said}");
    }
}
