//! How the parts of a hostname are put together.

use std::{fmt, num::NonZeroU64};

use serde::{Deserialize, Serialize};

use super::{COUNTER_MAX, Counter, Hostname, InvalidField, LABEL_MAX, Prefix};

const NAMES: [&str; 4] = ["application", "role", "counter", "environment"];

/// What the hostnames of a run of numbers look like. It is kept with the counter, so that every replica
/// makes the same name of a number, whatever its policies say meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// The order of the parts, and what stands between them.
    pub template: Template,
    /// The least number of digits, filled with zeros.
    pub padding: u8,
    /// The longest name.
    pub length: u8,
    /// From one number to the next.
    pub step: NonZeroU64,
    /// What is left of each number when it is divided by the step.
    pub offset: u64,
}

/// A text with each part once, such as `{application}{role}{counter}{environment}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(String);

/// What stands before the counter of a hostname, and what behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Surroundings {
    /// Before it.
    pub before: String,
    /// Behind it.
    pub behind: String,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            template: Template("{application}{role}{counter}{environment}".to_owned()),
            padding: 1,
            length: LABEL_MAX as u8,
            step: NonZeroU64::MIN,
            offset: 0,
        }
    }
}

impl Shape {
    /// The hostname of a number; `None` beyond the [`last`](Self::last) one.
    pub fn hostname(&self, prefix: &Prefix, number: Counter) -> Option<Hostname> {
        let Surroundings { before, behind } = self.template.surroundings(prefix);
        let width = usize::from(self.padding);
        let name = format!("{before}{:0width$}{behind}", number.get());
        let fits = name.len() <= usize::from(self.length) && number.get() <= COUNTER_MAX;
        fits.then_some(Hostname(name))
    }

    /// The highest number that a hostname of `prefix` can have; 0 where none fits.
    pub fn last(&self, prefix: &Prefix) -> u64 {
        let Surroundings { before, behind } = self.template.surroundings(prefix);
        let room = usize::from(self.length).saturating_sub(before.len() + behind.len());
        if room < usize::from(self.padding) {
            return 0;
        }
        let digits = u32::try_from(room).unwrap_or(u32::MAX);
        let all_nines = 10_u64.checked_pow(digits).map(|beyond| beyond - 1);
        all_nines.map_or(COUNTER_MAX, |last| last.min(COUNTER_MAX))
    }

    /// Whether it gives this number out at all.
    pub fn holds(&self, number: u64) -> bool {
        number % self.step == self.offset % self.step
    }

    /// The first number beyond `value` that it gives out.
    pub fn next_after(&self, value: u64) -> Option<u64> {
        let first = value.checked_add(1)?;
        let (left, wanted) = (first % self.step, self.offset % self.step);
        let missing = match wanted >= left {
            true => wanted - left,
            false => self.step.get() - (left - wanted),
        };
        first.checked_add(missing)
    }

    /// How many numbers it gives out from `first` to `last`.
    pub fn count(&self, first: u64, last: u64) -> u64 {
        match self.next_after(first.saturating_sub(1)) {
            Some(next) if next <= last => (last - next) / self.step + 1,
            _ => 0,
        }
    }
}

impl Template {
    /// The parts in their usual order, with `separator` between them.
    ///
    /// # Errors
    /// The separator cannot stand in a hostname.
    pub fn separated_by(separator: &str) -> Result<Self, String> {
        let parts = NAMES.map(|name| format!("{{{name}}}"));
        Self::try_from(parts.join(separator))
    }

    /// The text around the counter of a hostname of `prefix`.
    pub fn surroundings(&self, prefix: &Prefix) -> Surroundings {
        let (before, behind) = self.0.split_once("{counter}").unwrap_or((&self.0, ""));
        let filled = |text: &str| {
            text.replace("{application}", prefix.application.as_str())
                .replace("{role}", prefix.role.as_str())
                .replace("{environment}", prefix.environment.as_str())
        };
        Surroundings {
            before: filled(before),
            behind: filled(behind),
        }
    }

    /// Which part stands last before the counter, and which ones behind it: those that must not have
    /// digits there, lest they run into the counter.
    ///
    /// # Errors
    /// Each part of `prefix` that does.
    pub fn check_digits(&self, prefix: &Prefix) -> Result<(), Vec<InvalidField>> {
        let (before, behind) = self.0.split_once("{counter}").unwrap_or((&self.0, ""));
        let parts = [
            ("application", prefix.application.as_str()),
            ("role", prefix.role.as_str()),
            ("environment", prefix.environment.as_str()),
        ];
        let wrong = parts.into_iter().filter_map(|(name, text)| {
            let place = format!("{{{name}}}");
            let rule = if behind.contains(&place) && text.contains(|c: char| c.is_ascii_digit()) {
                "must have no digits: it stands behind the counter"
            } else if before.ends_with(&place) && text.ends_with(|c: char| c.is_ascii_digit()) {
                "must not end in a digit: the counter follows it"
            } else {
                return None;
            };
            Some(InvalidField::new(name, rule))
        });
        let wrong: Vec<_> = wrong.collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        const RULE: &str = "must hold {application}, {role}, {counter} and {environment} once each, and between them \
                            only lowercase letters and single hyphens";
        // As if each part were a letter: what is left must be a label, or a piece of one.
        let mut rest = text.clone();
        for name in NAMES {
            let place = format!("{{{name}}}");
            if text.matches(&place).count() != 1 {
                return Err(RULE.to_owned());
            }
            rest = rest.replace(&place, "x");
        }
        let legal = rest.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let hyphens = rest.starts_with('-') || rest.ends_with('-') || rest.contains("--");
        if !legal || hyphens || rest.len() > LABEL_MAX {
            return Err(RULE.to_owned());
        }
        Ok(Self(text))
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.0
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(application: &str, role: &str, environment: &str) -> Prefix {
        Prefix::new(
            application.to_owned().try_into().unwrap(),
            role.to_owned().try_into().unwrap(),
            environment.to_owned().try_into().unwrap(),
        )
        .unwrap()
    }

    /// Reads a hostname: its counter is the last run of digits.
    fn decode(name: &str) -> (Surroundings, u64) {
        let end = name.rfind(|c: char| c.is_ascii_digit()).unwrap() + 1;
        let start = name[..end].rfind(|c: char| !c.is_ascii_digit());
        let start = start.map_or(0, |place| place + 1);
        let surroundings = Surroundings {
            before: name[..start].to_owned(),
            behind: name[end..].to_owned(),
        };
        (surroundings, name[start..end].parse().unwrap())
    }

    proptest! {
        #[test]
        fn a_hostname_of_any_template_says_what_it_was_made_of(
            order in Just(NAMES.map(str::to_owned).to_vec()).prop_shuffle(),
            separators in prop::collection::vec("-?|[a-z]{1,3}", 3),
            padding in 1..6_u8,
            application in "[a-z0-9]{1,5}(-[a-z0-9]{1,3})?",
            role in "[a-z0-9]{1,5}",
            environment in "[a-z0-9]{1,5}",
            number in 1..=COUNTER_MAX,
        ) {
            let text = order.iter().zip(separators.iter().map(String::as_str).chain([""]));
            let text: String = text.map(|(name, between)| format!("{{{name}}}{between}")).collect();
            let shape = Shape { template: Template::try_from(text).unwrap(), padding, ..Shape::default() };
            let prefix = prefix(&application, &role, &environment);
            prop_assume!(shape.template.check_digits(&prefix).is_ok());
            let Some(hostname) = shape.hostname(&prefix, Counter::new(number).unwrap()) else {
                return Ok(());
            };
            let surroundings = shape.template.surroundings(&prefix);
            prop_assert_eq!(decode(hostname.as_str()), (surroundings, number));
            prop_assert_eq!(Hostname::try_from(hostname.as_str().to_owned()), Ok(hostname));
        }

        #[test]
        fn the_numbers_of_a_step_are_those_that_it_holds(step in 1..9_u64, offset in 0..20_u64, value in 0..40_u64) {
            let shape = Shape { step: NonZeroU64::new(step).unwrap(), offset, ..Shape::default() };
            let next = shape.next_after(value).unwrap();
            prop_assert!(next > value && next - value <= step && shape.holds(next));
            let held = (value + 1..=60).filter(|number| shape.holds(*number)).count();
            prop_assert_eq!(shape.count(value + 1, 60), held as u64);
        }
    }

    #[test]
    fn a_padded_number_fits_up_to_the_length() {
        let shape = Shape {
            template: Template::separated_by("-").unwrap(),
            padding: 3,
            length: 15,
            ..Shape::default()
        };
        let prefix = prefix("app", "web", "dev");
        let name = |number| shape.hostname(&prefix, Counter::new(number).unwrap());
        assert_eq!(name(7).unwrap().as_str(), "app-web-007-dev");
        assert_eq!(
            (name(999).is_some(), name(1000), shape.last(&prefix)),
            (true, None, 999)
        );
        let short = Shape {
            length: 14,
            ..shape
        };
        assert_eq!(short.last(&prefix), 0);
    }

    #[test]
    fn a_template_that_makes_no_label_is_refused() {
        for refused in [
            "",
            "{application}{role}{environment}",
            "{application}{role}{counter}{counter}{environment}",
            "{application}--{role}{counter}{environment}",
            "-{application}{role}{counter}{environment}",
            "{application}{role}{counter}{environment}-",
            "{application}{role}{counter}1{environment}",
            "{application}{role}{counter}.{environment}",
            "{application}{role}{counter}{environment}{team}",
        ] {
            assert!(Template::try_from(refused.to_owned()).is_err(), "{refused}");
        }
    }
}
