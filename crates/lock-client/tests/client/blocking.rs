//! The client of programs without a runtime.

use std::time::Duration;

use lock_client::blocking::LockClient;
use lock_client::{ClientOptions, Error, Mode};
use tokio::runtime::Runtime;

use crate::scripted::for_ttl;
use crate::service::{TTL, eventually_free, start, waiting};

#[test]
fn a_program_without_a_runtime_takes_renews_loses_and_gives_back_locks() {
    let runtime = Runtime::new().unwrap();
    let service = runtime.block_on(start());
    let client = |holder| LockClient::new(ClientOptions::new([service.url()], holder)).unwrap();
    let (ann, bob) = (client("ann"), client("bob"));
    let short = Duration::from_secs(2);
    let guard = ann.acquire("blocking", for_ttl(short)).unwrap();
    let refused = bob.try_acquire("blocking", for_ttl(TTL));
    assert!(matches!(refused, Err(Error::Held(_))));
    assert!(!guard.lost_within(2 * short).unwrap(), "it renews itself");
    assert!(guard.is_valid() && guard.verify().unwrap());

    // A thread of ours waits while another gives back.
    let waiter = std::thread::spawn(move || {
        let guard = bob.acquire("blocking", waiting(TTL, TTL)).unwrap();
        (bob, guard.fencing_token(), guard)
    });
    let token = guard.fencing_token();
    guard.release().unwrap();
    let (bob, later, second) = waiter.join().unwrap();
    assert!(later > token);
    assert!(bob.remove_if_owner(second.tenure()).unwrap());
    assert!(second.lost_within(TTL).unwrap());
    drop(second);
    let wanted = [
        ("blocking/1", Mode::Exclusive),
        ("blocking/2", Mode::Shared),
    ];
    assert_eq!(bob.acquire_all(&wanted, for_ttl(TTL)).unwrap().len(), 2);
    assert!(bob.close(TTL) && ann.inspect("blocking/1").unwrap().holders.is_empty());
    runtime.block_on(eventually_free(&service, "blocking"));
}

#[tokio::test]
async fn inside_of_a_runtime_it_answers_an_error_and_does_not_panic() {
    let locks = LockClient::new(ClientOptions::new(["http://127.0.0.1:1"], "ann")).unwrap();
    let refused = locks.acquire("k", for_ttl(TTL));
    assert!(matches!(refused, Err(Error::InsideRuntime)));
    drop(locks);
}
