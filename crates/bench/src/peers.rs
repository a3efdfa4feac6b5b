//! What ours is measured beside.

pub(crate) mod bare;
pub(crate) mod four_calls;
pub(crate) mod transactions;
