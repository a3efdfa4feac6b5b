//! redb trusts its file, and panics over one that somebody else or the disk has changed.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use redb::Error;

thread_local! {
    /// Whether what this thread panics over is told as an error, and so not by the panic hook.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Calls redb; its panic is [`Error::Corrupted`].
///
/// Unwind safe when whoever gets that error uses nothing that `call` was changing.
pub(crate) fn guarded<T, E: Into<Error>>(call: impl FnOnce() -> Result<T, E>) -> Result<T, Error> {
    silence();
    let outer = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(outer);
    match outcome {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(payload) => Err(Error::Corrupted(text(payload.as_ref()))),
    }
}

/// Keeps the hook that is there for everybody else's panics.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                told(panic);
            }
        }));
    });
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// The only test of this binary that touches the hook, which is the whole process's.
    #[test]
    fn a_guarded_panic_is_an_error_and_only_others_reach_the_hook() {
        static HEARD: AtomicUsize = AtomicUsize::new(0);
        panic::set_hook(Box::new(|_| {
            HEARD.fetch_add(1, Ordering::Relaxed);
        }));
        let outcome = guarded(|| -> Result<(), Error> { panic!("page {} is none", 7) });
        assert!(matches!(outcome, Err(Error::Corrupted(why)) if why == "page 7 is none"));
        assert_eq!(HEARD.load(Ordering::Relaxed), 0);
        assert!(catch_unwind(|| panic!("a bug")).is_err());
        assert_eq!(HEARD.load(Ordering::Relaxed), 1);
    }
}
