//! What the protocol could do without, as far as the model sees. These compares stay for reasons
//! that it does not see, which the README tells; should one of these tests fail, they have become
//! necessary.

use lock_model::runs;

fn breaks_nothing(name: &str) {
    let report = super::explore(name);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn an_entry_left_by_a_revoke_is_cleared_away_by_others() {
    breaks_nothing("spare-cancel-after-revoke");
}

#[test]
fn a_pooled_request_may_be_closed_by_a_tombstone_like_one_in_a_session() {
    breaks_nothing("spare-revoke");
    breaks_nothing("spare-revoke-readers");
}

#[test]
fn a_grant_to_a_dead_lease_is_refused_by_etcd_itself() {
    breaks_nothing("spare-guard");
}

#[test]
fn who_was_first_in_a_true_view_is_first_as_long_as_it_waits() {
    breaks_nothing("spare-order");
    breaks_nothing("spare-order-readers");
}

#[test]
fn nobody_is_granted_past_an_entry_that_waits_so_what_fitted_still_fits() {
    breaks_nothing("spare-room-writers");
    breaks_nothing("spare-room-readers");
    breaks_nothing("spare-room-permits");
}

#[test]
fn every_spare_scenario_is_explored() {
    let source = include_str!("spare.rs");
    for name in runs::names(runs::SPARE) {
        assert!(
            source.contains(&format!("\"{name}\"")),
            "no test explores {name}"
        );
    }
}
