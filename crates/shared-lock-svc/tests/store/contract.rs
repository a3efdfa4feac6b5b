//! What stores do: one list of behaviours for all of them, and one for each capability that a store
//! may have. Each behaviour has locks of its own, so that those of a list run side by side on one
//! store and wait for their expiries together.

mod asks;

mod expiry;
mod grants;
mod releases;
mod waiting;

pub(crate) mod all;
mod deadlock;
mod delay;
mod events;
mod force;
mod leases;
mod listing;
mod modes;
mod notes;
mod sessions;
mod verify;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use shared_lock_svc::{
    lease::{AcquireRequest, Anchor, LeaseId, PageRequest, SessionRequest},
    store::StoreError,
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

pub(crate) use self::asks::*;

pub(crate) type Store = Arc<dyn shared_lock_svc::store::Store>;
type Behaviour = fn(Store) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! behaviours {
    ($list:ident: $($module:ident::$name:ident),* $(,)?) => {
        const $list: &[(&str, Behaviour)] =
            &[$((concat!(stringify!($module), "::", stringify!($name)), |store| {
                Box::pin($module::$name(store))
            })),*];
    };
}

behaviours![CORE:
    grants::a_free_lock_is_granted,
    grants::a_lease_lives_whole_seconds_from_two_up,
    grants::a_second_holder_is_told_who_holds_the_lock,
    grants::tokens_rise_with_every_grant,
    grants::everybody_sees_holder_and_metadata,
    grants::keys_that_look_alike_are_different_locks,
    grants::a_request_that_holds_is_known,
    grants::an_absurd_ttl_is_refused,
    grants::one_holder_at_a_time_under_load,
    waiting::a_waiter_gets_the_lock_when_it_is_released,
    waiting::waiters_are_served_in_the_order_of_their_arrival,
    waiting::a_wait_that_is_over_ends_and_leaves_the_queue,
    waiting::a_waiter_that_is_dropped_leaves_the_queue_within_a_second,
    waiting::a_waiter_that_is_dropped_as_it_wins_holds_nothing,
    waiting::a_request_that_arrives_again_joins_the_first,
    waiting::a_caller_that_leaves_does_not_end_the_request_of_another,
    releases::a_release_ends_one_tenure_and_is_safe_to_repeat,
    releases::a_late_release_does_not_free_the_next_tenure,
    releases::a_request_id_ends_what_it_holds,
    releases::a_request_id_ends_what_waits,
    releases::a_request_that_was_ended_before_it_came_gets_nothing,
    expiry::a_lock_that_is_not_kept_alive_goes_to_the_next_waiter_and_not_too_early,
    expiry::a_lock_that_is_kept_alive_outlives_its_ttl,
    expiry::only_the_lease_that_holds_keeps_a_lock_alive,
    expiry::a_request_whose_lease_ran_out_frees_the_lock,
];

behaviours![LEASES:
    leases::a_lease_is_kept_alive_by_its_id_alone,
    leases::a_lease_that_is_gone_is_not_kept_alive,
];

behaviours![MODES:
    modes::readers_hold_together,
    modes::a_writer_waits_for_the_last_reader,
    modes::a_reader_does_not_pass_a_writer_that_waits,
    modes::readers_at_the_head_are_granted_together,
    modes::a_writer_that_gives_up_lets_the_readers_behind_it_in,
    modes::a_reader_whose_lease_ran_out_makes_room_for_the_writer,
    modes::a_request_id_ends_one_of_several,
    modes::permits_fit_up_to_the_limit,
    modes::the_least_limit_of_all_counts,
    modes::a_heavy_permit_at_the_head_is_not_passed_by_a_light_one,
    modes::permits_readers_and_writers_exclude_each_other,
    modes::one_queue_serves_all_modes_in_the_order_of_arrival,
];

behaviours![SESSIONS:
    sessions::a_session_carries_many_locks,
    sessions::a_session_lives_whole_seconds_from_two_up,
    sessions::the_end_of_a_session_frees_all_its_locks,
    sessions::a_session_that_is_not_kept_alive_loses_all_its_locks,
    sessions::a_session_that_is_kept_alive_keeps_all_its_locks,
    sessions::a_late_release_does_not_free_the_second_tenure_of_a_session,
    sessions::a_session_may_read_a_lock_twice,
    sessions::a_waiter_in_a_session_gets_the_lock_on_its_lease,
    sessions::a_waiter_whose_session_ends_is_told_at_once,
    sessions::a_request_that_ends_leaves_its_session_alone,
    sessions::a_session_that_nobody_opened_is_gone,
];

behaviours![DELAY:
    delay::a_lock_rests_after_an_expiry,
    delay::a_waiter_gets_the_lock_when_the_delay_is_over,
    delay::there_is_no_delay_after_a_release,
    delay::a_delay_belongs_to_its_tenure_alone,
    delay::a_lock_rests_after_the_expiry_of_a_session,
    delay::there_is_no_delay_when_a_session_is_ended,
];

behaviours![NOTES:
    notes::a_note_is_given_to_every_holder_until_it_is_written_over,
    notes::a_note_is_handed_over_with_the_lock,
    notes::a_release_that_comes_too_late_leaves_no_note,
    notes::a_release_by_request_id_leaves_a_note_if_the_request_held,
    notes::a_note_outlives_an_expiry,
];

behaviours![VERIFY:
    verify::a_tenure_is_current_until_it_is_released,
    verify::lease_and_token_must_both_be_right,
    verify::a_tenure_that_expired_is_not_current,
    verify::what_waits_is_not_current,
    verify::each_of_several_tenures_is_verified_by_itself,
];

behaviours![FORCE:
    force::every_tenure_ends_and_everybody_is_named,
    force::a_free_lock_is_left_as_it_is,
    force::permits_end_like_all_others,
    force::there_is_no_delay_after_force,
    force::the_session_of_a_holder_goes_on,
];

behaviours![ALL:
    all::several_locks_are_taken_on_one_session,
    all::none_is_taken_where_one_is_held,
    all::it_tries_again_when_a_lock_changes,
    all::its_time_is_over_like_any_other,
    all::it_does_not_pass_those_who_wait,
    all::every_mode_may_be_wanted,
    all::a_session_that_is_there_may_carry_them,
    all::a_request_id_counts_at_each_of_the_locks,
    all::a_request_that_is_ended_while_it_tries_gets_nothing,
    all::a_lock_that_rests_is_taken_when_its_delay_is_over,
    all::a_caller_that_leaves_holds_nothing,
];

behaviours![LISTING:
    listing::what_is_held_or_waited_for_is_listed_as_it_stands,
    listing::pages_come_in_the_byte_order_of_the_keys,
];

behaviours![EVENTS:
    events::every_change_is_told_in_order,
    events::a_request_that_is_ended_is_released_if_it_held,
    events::an_expiry_is_told_as_one,
    events::force_is_told_with_its_reason_for_every_holder,
    events::the_end_of_a_session_is_a_release_and_its_lapse_an_expiry,
];

behaviours![DEADLOCK:
    deadlock::two_sessions_that_wait_for_each_other,
    deadlock::three_sessions_that_wait_in_a_ring,
    deadlock::a_reader_that_asks_to_write,
    deadlock::a_reader_that_reads_again_behind_a_writer,
    deadlock::who_does_not_wait_is_told_who_holds,
    deadlock::a_chain_is_not_a_ring,
    deadlock::only_sessions_that_read_or_write_are_told,
];

/// Everything there is, all at once on one store.
pub(crate) async fn check_whole(store: Store) {
    let all = [
        CORE, LEASES, MODES, SESSIONS, DELAY, NOTES, VERIFY, FORCE, ALL, LISTING, EVENTS, DEADLOCK,
    ];
    keeps(store, all.concat()).await;
}

/// Those of the lists above that need sessions beside what their list is about.
const NEED_SESSIONS: &[&str] = &[
    "delay::a_lock_rests_after_the_expiry_of_a_session",
    "delay::there_is_no_delay_when_a_session_is_ended",
    "verify::each_of_several_tenures_is_verified_by_itself",
    "force::the_session_of_a_holder_goes_on",
    "events::the_end_of_a_session_is_a_release_and_its_lapse_an_expiry",
];

/// Everything that one lock by itself does, all at once: of a store that has nothing that spans locks.
pub(crate) async fn check_single_locks(store: Store) {
    let lists = [CORE, MODES, DELAY, NOTES, VERIFY, FORCE, EVENTS].concat();
    let (sessions, alone): (Vec<_>, Vec<_>) = lists
        .into_iter()
        .partition(|(name, _)| NEED_SESSIONS.contains(name));
    assert_eq!(sessions.len(), NEED_SESSIONS.len());
    // Leases of two seconds run out while a server is kept busy by all the others.
    let (timed, others): (Vec<_>, Vec<_>) = alone.into_iter().partition(|(name, _)| {
        let about_time = ["expiry::", "delay::", "ran_out", "expir", "over_ends"];
        about_time.iter().any(|part| name.contains(part))
    });
    keeps(Arc::clone(&store), others).await;
    keeps(Arc::clone(&store), timed).await;
    assert_eq!(
        store.token_epoch().await.unwrap(),
        store.token_epoch().await.unwrap()
    );
    store.ready().await.unwrap();
}

/// What spans locks, on a store that does not know it: refused, and nothing taken.
pub(crate) async fn check_refusals(store: Store) {
    let unsupported = |err: Option<StoreError>| {
        assert!(matches!(err, Some(StoreError::Unsupported(_))), "{err:?}");
    };
    let session = SessionRequest {
        holder: request("x", "x").holder,
        ttl: LONG,
    };
    unsupported(store.open_session(session).await.err());
    unsupported(store.end_session(LeaseId(1)).await.err());
    unsupported(store.keep_lease_alive(LeaseId(1)).await.err());
    let within = AcquireRequest {
        anchor: Anchor::Session(LeaseId(1)),
        ..request("refused", "x")
    };
    unsupported(store.acquire(within).await.err());
    let all = all::exclusive(&["refused", "refused-too"]);
    unsupported(store.acquire_all(all).await.err());
    let page = PageRequest {
        prefix: String::new(),
        after: None,
        limit: 10,
    };
    unsupported(store.list(&page).await.err());
    holds(&store, "refused", "next").await;
}

/// What every store does.
pub(crate) async fn check(store: Store) {
    keeps(Arc::clone(&store), CORE.to_vec()).await;
    assert_eq!(
        store.token_epoch().await.unwrap(),
        store.token_epoch().await.unwrap()
    );
    store.ready().await.unwrap();
}

/// Leases by their ids alone.
pub(crate) async fn check_leases(store: Store) {
    keeps(store, LEASES.to_vec()).await;
}

/// Readers and writers, permits, one queue for all modes.
pub(crate) async fn check_modes(store: Store) {
    keeps(store, MODES.to_vec()).await;
}

/// Sessions.
pub(crate) async fn check_sessions(store: Store) {
    keeps(store, SESSIONS.to_vec()).await;
}

/// Lock-delay; needs sessions, readers and permits.
pub(crate) async fn check_delay(store: Store) {
    keeps(store, DELAY.to_vec()).await;
}

/// Notes; needs readers.
pub(crate) async fn check_notes(store: Store) {
    keeps(store, NOTES.to_vec()).await;
}

/// Verification; needs sessions and readers.
pub(crate) async fn check_verify(store: Store) {
    keeps(store, VERIFY.to_vec()).await;
}

/// Release by force; needs sessions, readers and permits.
pub(crate) async fn check_force(store: Store) {
    keeps(store, FORCE.to_vec()).await;
}

/// Several locks at once; needs sessions, notes, readers and permits.
pub(crate) async fn check_all(store: Store) {
    keeps(store, ALL.to_vec()).await;
}

/// Listing; needs readers.
pub(crate) async fn check_listing(store: Store) {
    keeps(store, LISTING.to_vec()).await;
}

/// Events; needs sessions, readers, force.
pub(crate) async fn check_events(store: Store) {
    keeps(store, EVENTS.to_vec()).await;
}

/// Deadlock detection; needs sessions, readers and permits.
pub(crate) async fn check_deadlock(store: Store) {
    keeps(store, DEADLOCK.to_vec()).await;
}

/// A store that is closed ends its waits at once and takes no more; holders go on.
pub(crate) async fn check_close(store: Store) {
    let tenure = holds(&store, "close", "holder").await;
    let waiter = waits(&store, "close", "waiter", Duration::from_secs(50)).await;
    let closing = Instant::now();
    store.close().await;
    let outcome = waiter.await.unwrap();
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );
    assert!(closing.elapsed() < Duration::from_secs(1));
    let outcome = store.acquire(request("other", "late")).await;
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );
    let kept = store.keep_alive(&key("close"), tenure.lease_id).await;
    assert!(kept.unwrap().is_some());
    assert!(release(&store, "close", &tenure).await);
}

/// The same of those who want several locks, and of sessions; needs both.
pub(crate) async fn check_close_of_several(store: Store) {
    let session = opens(&store, "close").await;
    let tenure = takes(&store, within(&session, request("close-2", "close"))).await;
    let trying = all::tries(&store, &["close-1", "close-2"], LONG);
    until(&store, "close-2", "it is held", |view| {
        !view.holders.is_empty()
    })
    .await;
    let closing = Instant::now();
    store.close().await;
    let outcome = trying.await.unwrap();
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );
    assert!(closing.elapsed() < Duration::from_secs(1));
    assert!(store.keep_lease_alive(session.id).await.unwrap().is_some());
    assert!(release(&store, "close-2", &tenure).await);
    assert!(store.end_session(session.id).await.unwrap());
}

/// Runs every behaviour on `store`, and fails with the names of those that do not hold.
async fn keeps(store: Store, behaviours: Vec<(&'static str, Behaviour)>) {
    let mut running = JoinSet::new();
    for (name, behaviour) in behaviours {
        let done = timeout(Duration::from_secs(60), behaviour(Arc::clone(&store)));
        let done = tokio::spawn(done);
        running.spawn(async move { (name, matches!(done.await, Ok(Ok(())))) });
    }
    let broken: Vec<_> = running
        .join_all()
        .await
        .into_iter()
        .filter_map(|(name, holds)| (!holds).then_some(name))
        .collect();
    assert!(broken.is_empty(), "the store does not keep: {broken:#?}");
}
