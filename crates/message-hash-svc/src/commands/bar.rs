//! How far a long piece of work is, for whoever watches a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that is not drawn where standard error is no terminal.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// A bar for some messages; it learns how many.
    pub(super) fn new(doing: &'static str) -> Self {
        Self::styled(
            doing,
            "{msg} {wide_bar} {human_pos}/{human_len}, {eta} left",
        )
    }

    /// A bar for bytes; without their number it only counts them.
    pub(super) fn bytes(doing: &'static str, of: Option<u64>) -> Self {
        let Some(of) = of else {
            return Self::styled(doing, "{msg} {bytes}, {bytes_per_sec}");
        };
        let bar = Self::styled(doing, "{msg} {wide_bar} {bytes}/{total_bytes}, {eta} left");
        bar.0.set_length(of);
        bar
    }

    fn styled(doing: &'static str, style: &str) -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(doing);
        Self(bar)
    }

    /// So many of so many are done.
    pub(super) fn show(&self, done: u64, of: u64) {
        self.0.set_length(of);
        self.0.set_position(done);
    }

    /// So many more are done.
    pub(super) fn add(&self, more: usize) {
        self.0.inc(more as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
