use std::time::Duration;

use etcd_client::Compare;
use tokio::sync::oneshot::Receiver;

use super::*;
use crate::{
    lease::LockKey,
    store::etcd::{EtcdMetrics, EtcdOptions, keys::LockPath},
};

fn path(name: &str) -> LockPath {
    LockPath::of(&LockKey::parse_compat(name).unwrap())
}

fn proposal(lock: &str, bytes: usize) -> Proposal {
    let puts = [TxnOp::put("k", vec![0; bytes], None)];
    Proposal::of(&path(lock), [], puts)
}

fn wide(lock: &str, width: usize) -> Proposal {
    let compare = Compare::version("k", etcd_client::CompareOp::Equal, 0);
    Proposal::of(&path(lock), vec![compare; width], [])
}

/// An etcd where these wait, with what they will be told.
fn waiting(
    proposals: impl IntoIterator<Item = Proposal>,
) -> (Etcd, Vec<Receiver<Result<Answer, Fault>>>) {
    let etcd = Etcd::new(
        EtcdOptions::new(["http://127.0.0.1:1"]),
        EtcdMetrics::new().unwrap(),
    );
    let mut answers = Vec::new();
    for proposal in proposals {
        let (told, answer) = oneshot::channel();
        let since = Instant::now();
        etcd.batches().waiting.push_back(Passenger {
            proposal,
            since,
            span: Span::none(),
            told,
        });
        answers.push(answer);
    }
    (etcd, answers)
}

/// Sizes of the batches that form of these.
fn sizes(proposals: impl IntoIterator<Item = Proposal>) -> Vec<usize> {
    let (etcd, _answers) = waiting(proposals);
    std::iter::from_fn(|| {
        etcd.batches().under_way = 0;
        etcd.form(UNDER_WAY).map(|(batch, _)| batch.len())
    })
    .collect()
}

#[test]
fn a_lock_is_in_a_batch_once_and_its_proposals_keep_their_order() {
    let (etcd, _answers) = waiting([
        proposal("a", 1),
        proposal("a", 2),
        proposal("b", 3),
        Proposal::of_all([&path("b"), &path("c")], [], []),
        proposal("c", 5),
    ]);
    let mut rounds = Vec::new();
    while let Some((batch, _)) = etcd.form(UNDER_WAY) {
        rounds.push(
            batch
                .iter()
                .map(|one| one.proposal.bytes)
                .collect::<Vec<_>>(),
        );
        etcd.batches().under_way = 0;
    }
    let bytes = |lock, bytes| proposal(lock, bytes).bytes;
    let both = Proposal::of_all([&path("b"), &path("c")], [], []).bytes;
    let expected = [
        vec![bytes("a", 1), bytes("b", 3)],
        vec![bytes("a", 2), both],
        vec![bytes("c", 5)],
    ];
    assert_eq!(rounds, expected);
}

#[test]
fn batches_are_bounded_by_count_and_width_and_bytes() {
    let small = (0..250).map(|one| proposal(&format!("{one}"), 10));
    assert_eq!(sizes(small), [120, 120, 10]);
    let width = (0..200).map(|one| wide(&format!("{one}"), 20));
    assert_eq!(sizes(width), [108, 92]);
    let heavy = (0..20).map(|one| proposal(&format!("{one}"), 60 << 10));
    assert_eq!(sizes(heavy), [8, 8, 4]);
}

#[test]
fn what_is_large_or_wants_no_company_travels_alone() {
    let alone = Proposal::alone([], []);
    let large = proposal("large", 65 << 10);
    let others = ["a", "b", "c"].map(|lock| proposal(lock, 1));
    let [a, b, c] = others;
    assert_eq!(sizes([a, alone.clone(), b, large.clone(), c]), [3, 1, 1]);
    assert_eq!(sizes([alone, large]), [1, 1]);
}

#[test]
fn only_so_many_are_under_way() {
    let (etcd, _answers) = waiting((0..1_000).map(|one| proposal(&format!("{one}"), 10)));
    let batches = std::iter::from_fn(|| etcd.form(UNDER_WAY)).count();
    assert_eq!(batches, UNDER_WAY);
}

#[tokio::test(start_paused = true)]
async fn who_has_given_up_or_waited_for_too_long_is_not_proposed() {
    let (etcd, mut answers) = waiting((0..4).map(|one| proposal(&format!("{one}"), 10)));
    drop(answers.remove(0));
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(etcd.form(UNDER_WAY).is_none());
    for answer in answers {
        assert!(matches!(answer.await.unwrap(), Err(Fault::Unreachable(_))));
    }
}
