//! `lock-model <name>…` explores named scenarios, `lock-model <word>=<value>…` one that is written
//! out; without arguments it lists the names.

use std::{io::Write, process::ExitCode, time::Instant};

use lock_model::{Scenario, check, runs, spec};

fn main() -> std::io::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut out = std::io::stdout().lock();
    if words.is_empty() {
        for name in runs::all() {
            writeln!(out, "{name}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let scenarios = match chosen(&words) {
        Ok(scenarios) => scenarios,
        Err(message) => {
            writeln!(std::io::stderr(), "{message}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let mut code = ExitCode::SUCCESS;
    for scenario in scenarios {
        let begun = Instant::now();
        let report = check(&scenario);
        writeln!(out, "{report}  {:.1} s", begun.elapsed().as_secs_f32())?;
        if !report.findings.is_empty() {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn chosen(words: &[String]) -> Result<Vec<Scenario>, String> {
    if words[0].contains('=') {
        return spec::parse(&words.join(" ")).map(|scenario| vec![scenario]);
    }
    words.iter().map(|name| runs::scenario(name)).collect()
}
