//! A service on a disk that is soon full.

use std::time::Duration;

use message_hash_svc::digest::Digest;
use testbed::Process;

use crate::app::{Caller, message, noise};

/// What was acknowledged.
pub(crate) type Kept = Vec<(Digest, String)>;

pub(crate) async fn ready(service: &Process, caller: &Caller) {
    let asked = async || {
        let answer = caller.get("/readyz").await?;
        anyhow::ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    };
    service.ready(Duration::from_secs(60), asked).await.unwrap();
}

/// Posts messages of `size` bytes until one is refused, which says so clearly.
pub(crate) async fn fill(caller: &Caller, size: usize) -> Kept {
    const MORE_THAN_FIT: usize = 100;
    let mut kept = Vec::new();
    let refused = loop {
        let text = noise(kept.len(), size);
        let body = serde_json::json!({ "message": text }).to_string();
        let answer = caller.post("application/json", body).await.unwrap();
        if answer.status != 200 {
            break answer;
        }
        kept.push((Digest::of(text.as_bytes()), text));
        assert!(kept.len() < MORE_THAN_FIT, "the disk is not small");
    };
    assert!(!kept.is_empty());
    let told = (refused.status, refused.retry_after.as_deref());
    assert_eq!(told, (503, Some("1")));
    assert_eq!(refused.content_type, "application/json");
    assert_eq!(refused.body, r#"{"err_msg": "the store is not available"}"#);
    kept
}

/// Every message that was acknowledged is there, and a further one is kept.
pub(crate) async fn goes_on(caller: &Caller, kept: &Kept) {
    for (digest, text) in kept {
        let found = caller.look_up(digest).await.unwrap();
        assert!(found == message(text), "{digest}");
    }
    caller.keep("and it goes on").await.unwrap();
}
