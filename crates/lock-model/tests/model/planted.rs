//! Each mistake breaks what it is known to break: a model that finds nothing is worth nothing.

use lock_model::{Property, runs};

/// Explores the scenario and expects its first finding to be about `property`.
fn is_found(name: &str, property: Property) {
    let report = super::explore(name);
    assert!(
        report.breaks(property),
        "{property:?} should be broken\n{report}"
    );
}

#[test]
fn the_create_revision_as_token_does_not_grow_at_a_hand_over() {
    is_found("planted-token", Property::TokensGrow);
}

#[test]
fn a_late_release_by_lease_alone_ends_the_next_tenure_of_the_session() {
    is_found("planted-release-by-lease", Property::NoForeignEnd);
}

#[test]
fn a_promotion_without_order_overtakes() {
    is_found("planted-promotion-order", Property::FirstComeFirstServed);
}

#[test]
fn two_operations_of_one_lock_in_a_batch_break_order_and_capacity_and_leave_ghosts() {
    is_found("planted-batch-enqueues", Property::FirstComeFirstServed);
    is_found("planted-batch-cancel", Property::NoGhostHold);
    is_found("planted-batch-permits", Property::Capacity);
}

#[test]
fn a_cancel_that_deletes_the_guard_key_of_its_session_makes_it_look_dead() {
    is_found("planted-session-guard", Property::ToldTheTruth);
}

#[test]
fn without_tombstones_a_late_acquire_holds_for_a_request_that_has_ended() {
    is_found("planted-no-tombstone", Property::NoGhostHold);
}

#[test]
fn a_final_answer_without_a_tombstone_leaves_room_for_a_repeated_request() {
    is_found("planted-final-answer", Property::NoGhostHold);
}

#[test]
fn without_the_liveness_compare_a_replica_that_was_paused_outlives_the_tombstone() {
    is_found("planted-no-liveness", Property::NoGhostHold);
}

#[test]
fn without_a_keepalive_before_the_answer_a_dead_lease_is_told_as_acquired() {
    is_found("planted-no-keepalive", Property::ToldTheTruth);
}

#[test]
fn a_keepalive_sent_along_with_the_acquire_counts_only_from_its_send() {
    is_found("planted-confirmed-for-ever", Property::ToldTheTruth);
}

#[test]
fn an_entry_that_is_gone_does_not_mean_not_acquired() {
    is_found("planted-gone", Property::NoGhostHold);
}

#[test]
fn an_entry_whose_lease_is_gone_has_to_be_cleared_away() {
    is_found("planted-dead-entry", Property::RequestsAreAnswered);
}

#[test]
fn a_release_by_request_id_has_to_look_until_nothing_is_left() {
    is_found("planted-end-once", Property::NoGhostHold);
}

#[test]
fn an_enqueue_that_does_not_compare_the_holder_queues_behind_itself() {
    is_found("planted-enqueue-blind", Property::NoGhostHold);
}

#[test]
fn a_reader_that_barges_past_a_queued_writer_is_found() {
    is_found("planted-barging", Property::FirstComeFirstServed);
}

#[test]
fn a_writer_that_does_not_compare_the_readers_stands_beside_one() {
    is_found("planted-writer-blind", Property::Exclusion);
}

#[test]
fn permits_without_the_capacity_compare_exceed_the_limit() {
    is_found("planted-no-capacity", Property::Capacity);
}

#[test]
fn the_revision_of_a_watch_header_proves_nothing_about_the_view() {
    is_found("planted-watch-header", Property::Capacity);
}

#[test]
fn a_permit_has_to_respect_the_limits_of_those_before_it() {
    is_found("planted-own-limit", Property::Capacity);
}

#[test]
fn a_capacity_compare_that_leaves_out_who_leaves_never_passes() {
    is_found("planted-forgets-leaving", Property::ReleasesEnd);
}

#[test]
fn tenure_keys_named_by_lease_collide_in_a_session() {
    is_found("planted-tenure-by-lease", Property::NoForeignEnd);
}

#[test]
fn a_reader_has_to_compare_that_it_does_not_hold_already() {
    is_found("planted-acquire-twice", Property::NoForeignEnd);
    is_found("planted-enqueue-beside", Property::NoForeignEnd);
}

#[test]
fn a_release_by_request_id_has_to_look_at_readers_too() {
    is_found("planted-end-blind", Property::NoGhostHold);
}

#[test]
fn a_lock_delay_that_is_not_compared_is_not_kept() {
    is_found("planted-delay-ignored", Property::DelayIsKept);
}

#[test]
fn two_tenures_of_one_session_with_one_token_cannot_be_told_apart() {
    is_found("planted-lease-twice", Property::NoForeignEnd);
}

#[test]
fn a_run_that_skips_a_writer_overtakes_it() {
    is_found("planted-run-skips", Property::FirstComeFirstServed);
}

#[test]
fn a_reader_behind_a_writer_that_gave_up_has_to_be_promoted_beside_readers() {
    is_found("planted-promotes-when-free", Property::NoLostWakeUp);
}

#[test]
fn the_last_one_out_cannot_be_trusted_to_hand_over() {
    is_found("planted-nobody-promotes", Property::NoLostWakeUp);
}

#[test]
fn a_reader_has_to_be_able_to_leave_while_a_writer_waits_for_the_others() {
    is_found("planted-only-hands-over", Property::ReleasesEnd);
}

#[test]
fn a_plain_etcd_client_walks_in_on_readers() {
    is_found("stranger-beside-readers", Property::Exclusion);
}

#[test]
fn a_promotion_has_to_compare_the_holder_key_because_of_plain_etcd_clients() {
    is_found("stranger-and-no-room", Property::NoForeignEnd);
}

#[test]
fn every_planted_scenario_is_expected_to_break_something() {
    let source = include_str!("planted.rs");
    for name in runs::names(runs::PLANTED).chain(runs::names(runs::STRANGERS)) {
        assert!(
            source.contains(&format!("\"{name}\"")),
            "no test explores {name}"
        );
    }
}
