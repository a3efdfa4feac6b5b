//! Gives out numbers.

#[allow(dead_code)]
mod cycle;
mod plan;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod world;
