//! Documents that this version cannot read: whom they stop, and whom they do not.

use super::{
    cycle::End,
    traces::{read_idem, read_record, settle_and_check, skip, write_idem, write_record},
    world::{Fate, World, owner, prefix},
};
use crate::documents::{Format, IdemDocument, SkipReason};

/// Puts a document of somebody else's under the key of `name`.
fn spoil_key(world: &mut World, name: &str) {
    let document = IdemDocument {
        format: Format,
        prefix: prefix(),
        body_hash: "another".to_owned(),
        numbers: Vec::new(),
        failed: None,
    };
    let key = owner(name).key().unwrap().clone();
    world.store.idem.insert(key, vec![document]);
}

fn was_unreadable(world: &World, name: &str) -> bool {
    world.unreadable.contains(&owner(name))
}

#[test]
fn an_unreadable_key_fails_its_own_caller_alone() {
    let mut world = World::new(1);
    world.start(0, &[("a", 1), ("b", 1)]);
    assert!(read_idem(&world.calls(0)[1].request));
    world.step(0, 1, Fate::Unreadable);
    world.run(0);
    assert!(was_unreadable(&world, "a"));
    assert_eq!(world.numbers("b"), [1]);
    settle_and_check(&mut world);
}

#[test]
fn a_key_found_unreadable_when_its_number_is_given_ends_that_entry_alone() {
    let mut world = World::new(1);
    spoil_key(&mut world, "a");
    world.start(0, &[("a", 1), ("b", 1)]);
    // Nobody has seen the document yet.
    world.step(0, 1, Fate::Stale(1));
    world.until(0, write_idem);
    world.step(0, 0, Fate::Served);
    world.step(0, 0, Fate::Served);
    while !world.calls(0).is_empty() {
        let place = world.calls(0).iter().position(|it| read_idem(&it.request));
        match place {
            Some(place) => world.step(0, place, Fate::Unreadable),
            None => world.step(0, 0, Fate::Served),
        }
    }
    assert!(was_unreadable(&world, "a"));
    assert_eq!(world.numbers("b"), [2]);
    assert_eq!(skip(&world, 1), (SkipReason::Duplicate, None));
    settle_and_check(&mut world);
}

#[test]
fn an_unreadable_record_of_an_open_allocation_stops_its_prefix() {
    let mut world = World::new(2);
    world.start(0, &[("a", 1)]);
    world.until(0, write_record);
    world.crash(0);
    world.start(1, &[("b", 1)]);
    world.until(1, read_record);
    world.step(1, 0, Fate::Unreadable);
    assert!(matches!(
        world.replicas[1].stopped,
        Some(End::Unreadable(_))
    ));
    assert!(world.told.is_empty());
    // Once it can be read again, all goes on.
    world.start(1, &[("b", 1)]);
    world.run(1);
    assert_eq!(world.numbers("b"), [2]);
    settle_and_check(&mut world);
}

#[test]
fn an_unreadable_record_fails_the_caller_whose_key_leads_there() {
    let mut world = World::new(1);
    world.start(0, &[("a", 1)]);
    world.run(0);
    world.sweep(0);
    world.run(0);
    world.start(0, &[("a", 1), ("b", 1)]);
    world.until(0, read_record);
    world.step(0, 0, Fate::Unreadable);
    world.run(0);
    assert!(was_unreadable(&world, "a"));
    assert_eq!(world.numbers("b"), [2]);
    settle_and_check(&mut world);
}
