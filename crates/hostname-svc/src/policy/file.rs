//! The file of policies.

use std::num::NonZeroU64;

use serde::Deserialize;

use super::Policy;
use crate::{
    allocator::WithoutLocks,
    hostname::{Application, Counter, Environment, Prefix, Role, Shape, Template},
};

const LONGEST: u8 = 63;
const LONGEST_PADDING: u8 = 15;
const HIGHEST: u64 = 1 << 52;

/// Which prefixes a policy is for; a part that is not named may be any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    application: Option<Vec<Application>>,
    role: Option<Vec<Role>>,
    environment: Option<Vec<Environment>>,
    pub(super) policy: Policy,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBody {
    #[serde(default)]
    rule: Vec<RuleBody>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleBody {
    application: Option<Vec<Application>>,
    role: Option<Vec<Role>>,
    environment: Option<Vec<Environment>>,
    template: Option<String>,
    separator: Option<String>,
    padding: Option<u8>,
    max_length: Option<u8>,
    start: Option<u64>,
    step: Option<u64>,
    #[serde(default)]
    reserved: Vec<String>,
    quota: Option<NonZeroU64>,
    #[serde(default)]
    allow_digits: bool,
    lock_outage: Option<WithoutLocks>,
}

impl Rule {
    pub(super) fn covers(&self, prefix: &Prefix) -> bool {
        may_be(&self.application, &prefix.application)
            && may_be(&self.role, &prefix.role)
            && may_be(&self.environment, &prefix.environment)
    }
}

fn may_be<P: PartialEq>(named: &Option<Vec<P>>, part: &P) -> bool {
    named.as_ref().is_none_or(|named| named.contains(part))
}

/// The rules of a file.
pub(super) fn parse(text: &str) -> Result<Vec<Rule>, String> {
    // The first line says what is wrong and where; those behind it draw it.
    let file: FileBody = toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map(|span| text[..span.start].matches('\n').count() + 1);
        let place = line
            .map(|line| format!("line {line}: "))
            .unwrap_or_default();
        format!("{place}{}", error.message())
    })?;
    let rules = file.rule.into_iter().enumerate();
    rules
        .map(|(place, body)| {
            body.rule()
                .map_err(|wrong| format!("rule {}: {wrong}", place + 1))
        })
        .collect()
}

impl RuleBody {
    fn rule(self) -> Result<Rule, String> {
        let template = match (self.template, self.separator) {
            (Some(_), Some(_)) => {
                return Err("`template` and `separator` exclude each other".to_owned());
            }
            (Some(template), None) => {
                Template::try_from(template).map_err(|rule| format!("`template` {rule}"))?
            }
            (None, Some(separator)) => Template::separated_by(&separator)
                .map_err(|_| "`separator` must be lowercase letters or one hyphen".to_owned())?,
            (None, None) => Shape::default().template,
        };
        for word in &self.reserved {
            // Any part will do: all have one alphabet.
            Application::try_from(word.clone())
                .map_err(|wrong| format!("`reserved` names `{word}`; a part {}", wrong.allowed))?;
        }
        let start = within("start", self.start, 1, HIGHEST)?.unwrap_or(1);
        let step = within("step", self.step, 1, HIGHEST)?.unwrap_or(1);
        let step = NonZeroU64::new(step).unwrap_or(NonZeroU64::MIN);
        let shape = Shape {
            template,
            padding: within("padding", self.padding, 1, LONGEST_PADDING)?.unwrap_or(1),
            length: within("max_length", self.max_length, 4, LONGEST)?.unwrap_or(LONGEST),
            step,
            offset: start % step,
        };
        Ok(Rule {
            application: self.application,
            role: self.role,
            environment: self.environment,
            policy: Policy {
                shape,
                start: Counter::new(start).unwrap_or(Counter::FIRST),
                reserved: self.reserved,
                quota: self.quota.map(NonZeroU64::get),
                allow_digits: self.allow_digits,
                without_locks: self.lock_outage,
            },
        })
    }
}

fn within<N: PartialOrd + std::fmt::Display>(
    name: &str,
    number: Option<N>,
    least: N,
    most: N,
) -> Result<Option<N>, String> {
    match number {
        Some(number) if number < least || number > most => Err(format!(
            "`{name}` is {number}; it must be {least} to {most}"
        )),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocator::world::prefix;

    #[test]
    fn the_first_rule_that_covers_a_prefix_counts() {
        let rules = parse(
            r#"
            [[rule]]
            environment = ["prod"]
            quota = 5

            [[rule]]
            application = ["nobody", "splunk"]
            separator = "-"
            padding = 3
            start = 100
            step = 10
            lock_outage = "go-on"
            "#,
        )
        .unwrap();
        let policy = &rules
            .iter()
            .find(|rule| rule.covers(&prefix()))
            .unwrap()
            .policy;
        let name = policy.shape.hostname(&prefix(), policy.start).unwrap();
        assert_eq!(name.as_str(), "splunk-web-100-dev");
        assert_eq!(policy.shape.next_after(100), Some(110));
        assert_eq!(policy.without_locks, Some(WithoutLocks::GoOn));
        assert_eq!((rules[0].policy.quota, policy.quota), (Some(5), None));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_in_one_line() {
        for (text, told) in [
            ("[[rule]]\npaddign = 3", "line 2: unknown field `paddign`"),
            (
                "[[rule]]\npadding = 0",
                "rule 1: `padding` is 0; it must be 1 to 15",
            ),
            (
                "[[rule]]\n[[rule]]\nmax_length = 64",
                "rule 2: `max_length` is 64",
            ),
            ("[[rule]]\nstep = 0", "rule 1: `step` is 0"),
            ("[[rule]]\nseparator = \"_\"", "rule 1: `separator` must be"),
            (
                "[[rule]]\ntemplate = \"{role}\"",
                "rule 1: `template` must hold",
            ),
            (
                "[[rule]]\nlock_outage = \"wait\"",
                "line 2: unknown variant `wait`",
            ),
            ("[[rule]]\nquota = 0", "line 2: "),
            (
                "[[rule]]\napplication = [\"Splunk\"]",
                "line 2: application: must be",
            ),
            (
                "[[rule]]\n\nrole = [\"web\", \"a b\"]",
                "line 3: role: must be",
            ),
            (
                "[[rule]]\nreserved = [\"admin\", \"Test\"]",
                "rule 1: `reserved` names `Test`; a part must be",
            ),
            ("rule = ", "line 1: "),
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.starts_with(told) && !wrong.contains('\n'), "{wrong}");
        }
    }
}
