//! What was measured, as a table for people, JSON for programs and a plot.

mod plot;

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{Plan, load::Round};

/// What a ratio is to reach.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

impl Bound {
    fn is_reached_by(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {bound}"),
            Self::AtMost(bound) => format!("≤ {bound}"),
        }
    }
}

/// One figure beside another of the same run.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: String,
    /// What it stands beside.
    pub(crate) beside: String,
    /// The unit of both.
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    /// What the ratio, ours to theirs, is to reach.
    pub(crate) bound: Bound,
}

impl Figure {
    fn ratio(&self) -> f64 {
        self.ours / self.theirs
    }
}

/// All figures of a run.
#[derive(Serialize)]
pub(crate) struct Report {
    rounds: u32,
    seconds: u64,
    cores: usize,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            rounds: plan.rounds,
            seconds: plan.seconds,
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            figures: Vec::new(),
        }
    }

    /// Says how a round went, while the run goes on.
    pub(crate) fn progress(&self, what: &str, round: &Round) {
        eprintln!(
            "{what}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
            round.rate(),
            round.quantile_ms(0.5),
            round.quantile_ms(0.99)
        );
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Prints the table, and writes `bench.json` and `bench.svg` to `dir`.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        self.print();
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let json = serde_json::to_vec_pretty(self)?;
        fs::write(dir.join("bench.json"), json).context("writing bench.json")?;
        plot::draw(&self.figures, &dir.join("bench.svg"))?;
        eprintln!("written: bench.json and bench.svg in {}", dir.display());
        Ok(())
    }

    #[expect(clippy::print_stdout, reason = "the table is what the program is for")]
    fn print(&self) {
        println!("| what | ours | beside | theirs | ratio | to reach | |");
        println!("|---|---|---|---|---|---|---|");
        for figure in &self.figures {
            let Figure {
                what, beside, unit, ..
            } = figure;
            let ratio = figure.ratio();
            let verdict = match figure.bound.is_reached_by(ratio) {
                true => "reached",
                false => "not reached",
            };
            println!(
                "| {what} | {} {unit} | {beside} | {} {unit} | {ratio:.2} | {} | {verdict} |",
                short(figure.ours),
                short(figure.theirs),
                figure.bound.text()
            );
        }
    }
}

/// As many digits as say something.
fn short(value: f64) -> String {
    match value.abs() {
        0.0..1.0 => format!("{value:.3}"),
        1.0..100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}
