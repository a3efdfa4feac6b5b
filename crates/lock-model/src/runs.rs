//! The scenarios that have names.
use crate::{Mode, Scenario};
/// All of them.
pub fn all() -> Vec<Scenario> { vec![Scenario::new("x3", &[Mode::Exclusive; 3])] }
