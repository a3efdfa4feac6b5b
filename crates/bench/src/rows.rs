//! What is measured, one file a row of the table.

pub(crate) mod hand_over;
pub(crate) mod idle;
pub(crate) mod lease;
pub(crate) mod message;
pub(crate) mod session;

use crate::load::Round;

/// The round whose rate is in the middle.
fn median(mut rounds: Vec<Round>) -> Option<Round> {
    rounds.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
    let middle = rounds.len() / 2;
    rounds.into_iter().nth(middle)
}
