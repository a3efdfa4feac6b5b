//! The three parts of a hostname that callers give.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::LABEL_MAX;

/// What is left of a label for one part, when the other two and the counter take one character each.
const PART_MAX: usize = LABEL_MAX - 3;

/// A field of a request that is not valid, and what is allowed there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    /// Name of the field.
    pub field: &'static str,
    /// What is allowed: the end of "`field` …".
    pub allowed: String,
}

impl InvalidField {
    /// The field `field`, in which only `allowed` is allowed.
    pub fn new(field: &'static str, allowed: impl Into<String>) -> Self {
        Self {
            field,
            allowed: allowed.into(),
        }
    }
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.allowed)
    }
}

macro_rules! part {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The part as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidField;

            fn try_from(text: String) -> Result<Self, InvalidField> {
                match check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(allowed) => Err(InvalidField::new($field, allowed)),
                }
            }
        }

        impl From<$name> for String {
            fn from(part: $name) -> Self {
                part.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

part! {
    /// What runs on the machine: 1–60 of `a`–`z`, `0`–`9`, single hyphens inside.
    Application, "application"
}
part! {
    /// What the machine does for it: as [`Application`]. Whether it may end in a digit is for a policy to say.
    Role, "role"
}
part! {
    /// Where it stands: as [`Application`]. Whether it may have digits is for a policy to say.
    Environment, "environment"
}

fn check(text: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let well_made = text
        .split('-')
        .all(|word| !word.is_empty() && word.chars().all(legal));
    if !well_made || text.len() > PART_MAX {
        return Err("must be 1 to 60 lowercase letters (a-z) and digits (0-9), with single hyphens between them".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(text: &str) -> Result<Application, InvalidField> {
        Application::try_from(text.to_owned())
    }

    #[test]
    fn a_part_that_is_not_allowed_is_refused_by_the_name_of_its_field() {
        for text in [
            "",
            "Web",
            "we b",
            "web_",
            "wéb",
            "we\0b",
            "-web",
            "web-",
            "we--b",
            &"a".repeat(61),
        ] {
            for refused in [
                application(text).unwrap_err(),
                Role::try_from(text.to_owned()).unwrap_err(),
                Environment::try_from(text.to_owned()).unwrap_err(),
            ] {
                assert!(
                    refused.allowed.contains("lowercase letters"),
                    "{text:?}: {refused}"
                );
            }
        }
        assert_eq!(Role::try_from("W".to_owned()).unwrap_err().field, "role");
        assert_eq!(application("2").unwrap().as_str(), "2");
    }
}
