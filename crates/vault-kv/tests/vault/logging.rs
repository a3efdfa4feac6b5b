//! Ordinary outcomes are no errors in the log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt};
use vault_kv::LOG_DIRECTIVES;

use crate::server::{root, shared};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn logged_of_a_404_and_a_lost_write(filter: &str) -> String {
    let bao = shared().await;
    let lines = Lines::default();
    let writer = lines.clone();
    let written = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
    let subscriber = tracing_subscriber::registry()
        .with(filter.parse::<Targets>().unwrap())
        .with(written);
    // With one subscriber alone, a log line that another test's thread meets first is off for good.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let vault = root(bao);
    vault.read::<Value>("logged/nothing").await.unwrap();
    vault.write("logged/nothing", 7, &json!({})).await.unwrap();
    let lines = lines.0.lock().unwrap().clone();
    String::from_utf8(lines).unwrap()
}

#[tokio::test]
async fn the_directives_silence_what_is_no_error() {
    let loud = logged_of_a_404_and_a_lost_write("warn").await;
    assert!(
        loud.contains("ERROR"),
        "vaultrs has learnt to be quiet, so the directives can go: {loud}"
    );
    let quiet = logged_of_a_404_and_a_lost_write(&format!("warn,{LOG_DIRECTIVES}")).await;
    assert_eq!(quiet, "");
}
