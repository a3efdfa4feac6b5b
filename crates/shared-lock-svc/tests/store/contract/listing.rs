//! Which locks there are.

use shared_lock_svc::lease::{LockPage, PageRequest};

use super::{Store, gets, holds, key, reader, release, takes, waits};

async fn page(store: &Store, prefix: &str, after: Option<&str>, limit: usize) -> LockPage {
    let page = PageRequest {
        prefix: prefix.to_owned(),
        after: after.map(key),
        limit,
    };
    store.list(&page).await.unwrap()
}

fn keys(page: &LockPage) -> Vec<&str> {
    page.locks.iter().map(|(key, _)| key.as_str()).collect()
}

pub(super) async fn what_is_held_or_waited_for_is_listed_as_it_stands(store: Store) {
    assert_eq!(page(&store, "list/", None, 10).await, LockPage::default());
    let held = holds(&store, "list/a", "a").await;
    takes(&store, reader("list/b", "b")).await;
    takes(&store, reader("list/b", "c")).await;
    let waiter = waits(&store, "list/a", "waiter", super::LONG).await;
    let freed = holds(&store, "list/freed", "a").await;
    assert!(release(&store, "list/freed", &freed).await);
    holds(&store, "list", "not below it").await;
    let listed = page(&store, "list/", None, 10).await;
    assert_eq!(keys(&listed), ["list/a", "list/b"]);
    assert!(!listed.more);
    for (key, view) in &listed.locks {
        let seen = store.inspect(key).await.unwrap();
        let tokens = |view: &shared_lock_svc::lease::LockView| {
            let held = view.holders.iter();
            held.map(|held| held.fencing_token).collect::<Vec<_>>()
        };
        assert_eq!(tokens(view), tokens(&seen));
        let waiters = |view: &shared_lock_svc::lease::LockView| {
            let waiting = view.waiters.iter();
            waiting.map(|w| w.holder.clone()).collect::<Vec<_>>()
        };
        assert_eq!(waiters(view), waiters(&seen));
    }
    assert!(release(&store, "list/a", &held).await);
    let next = gets(waiter).await;
    assert!(release(&store, "list/a", &next).await);
    assert_eq!(keys(&page(&store, "list/", None, 10).await), ["list/b"]);
}

pub(super) async fn pages_come_in_the_byte_order_of_the_keys(store: Store) {
    let long = format!("page/{}", "k".repeat(1000));
    let names = [
        "page/",
        "page/0",
        "page/A",
        "page/a",
        "page/a%2Fb",
        "page/a/b",
        "page/b",
        &long,
        "page/ä",
        "page/日本",
    ];
    for name in names.iter().rev() {
        holds(&store, name, "a").await;
    }
    assert!(names.is_sorted(), "the test's own list");
    for limit in [1, 3, 5, 10, 100] {
        let mut seen = Vec::new();
        loop {
            let after = seen.last().map(String::as_str);
            let listed = page(&store, "page/", after, limit).await;
            assert!(listed.locks.len() <= limit);
            seen.extend(keys(&listed).iter().map(|&key| key.to_owned()));
            assert!(seen.len() <= names.len(), "{seen:?}");
            if !listed.more {
                break;
            }
            assert_eq!(listed.locks.len(), limit);
        }
        assert_eq!(seen, names, "{limit} at a time");
    }
    let middle = page(&store, "page/a", Some("page/a%"), 2).await;
    assert_eq!(keys(&middle), ["page/a%2Fb", "page/a/b"]);
    assert!(!middle.more);
    let gone = page(&store, "page/", Some("page/a/a"), 1).await;
    assert_eq!(keys(&gone), ["page/a/b"], "after a key that is not there");
    assert!(gone.more);
    let before = page(&store, "page/a", Some("page/0"), 1).await;
    assert_eq!(keys(&before), ["page/a"]);
}
