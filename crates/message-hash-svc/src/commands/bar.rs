//! How far a long piece of work is, for whoever watches a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that is not drawn where standard error is no terminal.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// A bar for some messages; it learns how many.
    pub(super) fn new(doing: &'static str) -> Self {
        let bar = ProgressBar::new(0);
        let style = "{msg} {wide_bar} {human_pos}/{human_len}, {eta} left";
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
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
