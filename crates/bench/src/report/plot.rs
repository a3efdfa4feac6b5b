//! The ratios as bars, each beside what it is to reach: 1 is the bound, whichever side of it is the better one.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::{Bound, Figure};

const WIDTH: u32 = 960;
const ROW: u32 = 44;

/// How far the figure is beyond its bound; 1 is the bound, more is better.
fn reach(figure: &Figure) -> f64 {
    match figure.bound {
        Bound::AtLeast(bound) => figure.ratio() / bound,
        Bound::AtMost(bound) => bound / figure.ratio(),
    }
}

/// Draws the figures to an SVG file.
pub(super) fn draw(figures: &[Figure], file: &Path) -> Result<()> {
    let rows = u32::try_from(figures.len())?;
    let root = SVGBackend::new(file, (WIDTH, ROW * (rows + 2))).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let longest = figures.iter().map(reach).fold(1.5, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .margin(10)
        .x_label_area_size(30)
        .caption("times what is to be reached", ("sans-serif", 16))
        .build_cartesian_2d(0.0..longest * 1.05, 0.0..f64::from(rows))
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .draw()
        .map_err(failed)?;
    let bars = figures.iter().zip(0_u32..).map(|(figure, row)| {
        let (top, reach) = (f64::from(rows - row), reach(figure));
        let color = if reach >= 1.0 { &GREEN } else { &RED };
        Rectangle::new(
            [(0.0, top - 0.9), (reach, top - 0.5)],
            color.mix(0.6).filled(),
        )
    });
    chart.draw_series(bars).map_err(failed)?;
    let labels = figures.iter().zip(0_u32..).map(|(figure, row)| {
        let text = format!(
            "{} ({:.2}, {})",
            figure.what,
            figure.ratio(),
            figure.bound.text()
        );
        Text::new(
            text,
            (0.01, f64::from(rows - row) - 0.1),
            ("sans-serif", 14),
        )
    });
    chart.draw_series(labels).map_err(failed)?;
    let bound = [(1.0, 0.0), (1.0, f64::from(rows))];
    chart
        .draw_series(LineSeries::new(bound, &BLACK))
        .map_err(failed)?;
    root.present().map_err(failed)
}

fn failed(err: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing the plot: {err}")
}
