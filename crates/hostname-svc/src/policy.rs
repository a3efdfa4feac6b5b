//! How hostnames are to be made and who may have how many: by prefix, from a file that is read again
//! whenever it changes.

mod file;
mod watch;

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use self::file::Rule;
pub use self::watch::PolicyFile;
use crate::{
    allocator::WithoutLocks,
    hostname::{Counter, InvalidField, Prefix, Shape},
};

/// What holds for a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What its hostnames look like.
    pub shape: Shape,
    /// The first number.
    pub start: Counter,
    /// Words that no part may be.
    pub reserved: Vec<String>,
    /// How many hostnames it may have.
    pub quota: Option<u64>,
    /// Parts may run into the counter: two prefixes may then have names in common, which whoever comes
    /// second passes over.
    pub allow_digits: bool,
    /// What to do while the lock service is away, where it is not what the settings say.
    pub without_locks: Option<WithoutLocks>,
}

/// The policies of all prefixes. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Policies(Arc<RwLock<Arc<Vec<Rule>>>>);

impl Default for Policy {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            start: Counter::FIRST,
            reserved: Vec::new(),
            quota: None,
            allow_digits: false,
            without_locks: None,
        }
    }
}

impl Policy {
    /// Checks that hostnames of `prefix` may be given out.
    ///
    /// # Errors
    /// Each part that is not allowed.
    pub fn check(&self, prefix: &Prefix) -> Result<(), Vec<InvalidField>> {
        let parts = [
            ("application", prefix.application.as_str()),
            ("role", prefix.role.as_str()),
            ("environment", prefix.environment.as_str()),
        ];
        let reserved = parts
            .into_iter()
            .filter(|(_, text)| self.reserved.iter().any(|word| word == text))
            .map(|(name, _)| InvalidField::new(name, "is a reserved word"));
        let mut wrong: Vec<_> = reserved.collect();
        if !self.allow_digits {
            wrong.extend(
                self.shape
                    .template
                    .check_digits(prefix)
                    .err()
                    .into_iter()
                    .flatten(),
            );
        }
        if self.shape.hostname(prefix, self.start).is_none() {
            let allowed = format!(
                "application, role and environment are too long together: a hostname like `{}` has at most {} characters",
                self.shape.template, self.shape.length
            );
            wrong.push(InvalidField::new("application", allowed));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

impl Policies {
    /// What holds for `prefix`: the first rule that covers it.
    pub fn of(&self, prefix: &Prefix) -> Policy {
        let rules = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let rule = rules.iter().find(|rule| rule.covers(prefix));
        rule.map_or_else(Policy::default, |rule| rule.policy.clone())
    }

    /// Reads a file of policies, and gives what to watch it with.
    ///
    /// # Errors
    /// It cannot be read, or says what cannot be.
    pub fn read(path: &Path) -> Result<(Self, PolicyFile), String> {
        let text = watch::text_of(path)?;
        let policies = Self::default();
        policies.replace(file::parse(&text)?);
        let file = PolicyFile::new(path.to_owned(), text, policies.clone());
        Ok((policies, file))
    }

    fn replace(&self, rules: Vec<Rule>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }
}
