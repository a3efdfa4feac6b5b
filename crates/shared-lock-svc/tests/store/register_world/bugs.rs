//! Planted bugs: what each of them breaks must be seen, or the simulation proves nothing.

use shared_lock_svc::state::{Step, step};

use super::{machine, shelf::Wrong};

/// What is wrong with a world.
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    /// What moves the locks.
    pub(super) step: Step,
    /// What holds them.
    pub(super) register: Wrong,
    /// By how much the clocks of two replicas may differ from a third one's.
    pub(super) drift: f64,
}

/// A world in which nothing is wrong: clocks differ by what the margin of a lease covers.
pub(crate) static NONE: Bug = Bug {
    name: "nothing",
    step,
    register: Wrong::Nothing,
    drift: 0.005,
};

const fn machine(name: &'static str, step: Step) -> Bug {
    Bug {
        name,
        step,
        ..NONE_OF_THEM
    }
}

const fn register(name: &'static str, register: Wrong) -> Bug {
    Bug {
        name,
        register,
        ..NONE_OF_THEM
    }
}

const NONE_OF_THEM: Bug = Bug {
    name: "",
    step,
    register: Wrong::Nothing,
    drift: 0.005,
};

/// Worlds in which one thing is wrong.
pub(crate) static BUGS: &[Bug] = &[
    machine(
        "a release does not look at the token",
        machine::release_skips_token,
    ),
    machine(
        "a keepalive does not look at the lease",
        machine::any_lease_renews,
    ),
    machine(
        "ended requests are forgotten at once",
        machine::forgets_ended,
    ),
    machine("a hand-over keeps the token", machine::handover_keeps_token),
    machine("leases never run out", machine::never_expires),
    machine("a writer joins readers", machine::writer_joins_readers),
    machine(
        "a held lock is given to whoever asks",
        machine::gives_what_is_held,
    ),
    Bug {
        name: "a clock is trusted that runs too fast",
        drift: 0.5,
        ..NONE_OF_THEM
    },
    register("the register does not compare", Wrong::NoCompare),
    register(
        "the register looks, and writes later",
        Wrong::ReadsThenWrites,
    ),
    register("a free lock is deleted", Wrong::Deletes),
    register("the register says written when it is not", Wrong::Lies),
    register("old reads are taken for current ones", Wrong::OldReads),
];
