//! What a lock protects: a counter that everybody reads, adds one to, and writes back.

use shared_lock_svc::lease::FencingToken;

#[derive(Default)]
pub(crate) struct Resource {
    value: u64,
    highest: Option<FencingToken>,
    unfenced: bool,
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Taken,
    Fenced,
    /// It was taken, and undid somebody else's.
    LostUpdate,
}

impl Resource {
    pub(crate) fn new(unfenced: bool) -> Self {
        Self {
            unfenced,
            ..Self::default()
        }
    }

    /// A read shows the token as well: from then on an older holder writes no more.
    pub(crate) fn read(&mut self, token: FencingToken) -> Option<u64> {
        self.passes(token).then_some(self.value)
    }

    pub(crate) fn write(&mut self, token: FencingToken, value: u64) -> Written {
        if !self.passes(token) {
            return Written::Fenced;
        }
        let lost = value != self.value + 1;
        self.value = value;
        if lost {
            Written::LostUpdate
        } else {
            Written::Taken
        }
    }

    fn passes(&mut self, token: FencingToken) -> bool {
        if self.unfenced {
            return true;
        }
        if self.highest > Some(token) {
            return false;
        }
        self.highest = Some(token);
        true
    }
}
