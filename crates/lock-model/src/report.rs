//! What a search found.

use std::fmt;

use crate::property::Property;

/// The outcome of exploring one scenario.
#[derive(Debug, Clone)]
pub struct Report {
    /// The scenario.
    pub name: String,
    /// Different states seen.
    pub states: usize,
    /// Steps between them.
    pub transitions: u64,
    /// Every reachable state was seen and no bound of the model cut anything off. Otherwise it is a
    /// breadth-first beginning: there is no shorter counterexample than what was looked at.
    pub complete: bool,
    /// The properties that are broken. A search ends at the first step that breaks one.
    pub findings: Vec<Finding>,
}

/// A broken property.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which one.
    pub property: Property,
    /// How it shows.
    pub what: String,
    /// A shortest way there, a step a line.
    pub trace: Vec<String>,
}

impl Report {
    /// Whether everything was seen and nothing is broken.
    pub fn is_clean(&self) -> bool {
        self.complete && self.findings.is_empty()
    }

    /// Whether `property` is broken.
    pub fn breaks(&self, property: Property) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.property == property)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent = if self.complete {
            "complete"
        } else {
            "not complete"
        };
        writeln!(
            f,
            "{}: {} states, {} steps, {extent}",
            self.name, self.states, self.transitions
        )?;
        if self.findings.is_empty() {
            return writeln!(f, "  nothing is broken");
        }
        for finding in &self.findings {
            writeln!(
                f,
                "  {:?} is broken in {} steps: {}",
                finding.property,
                finding.trace.len(),
                finding.what
            )?;
            for (number, line) in finding.trace.iter().enumerate() {
                writeln!(f, "  {:3}. {line}", number + 1)?;
            }
        }
        Ok(())
    }
}
