//! Who may use a stem.

use serde::{Deserialize, Serialize};

use super::Format;
use crate::hostname::{Application, Environment, Prefix, Role};

/// Who uses a stem: the first prefix that did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StemDocument {
    /// Format of this document.
    pub format: Format,
    /// The application that ends where the role begins.
    pub application: Application,
    /// The role.
    pub role: Role,
    /// The environment, which a template may put anywhere; not there in what older versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
}

impl StemDocument {
    /// The registration of `prefix`.
    pub fn of(prefix: &Prefix) -> Self {
        Self {
            format: Format,
            application: prefix.application.clone(),
            role: prefix.role.clone(),
            environment: Some(prefix.environment.clone()),
        }
    }

    /// Whether this is the registration of `prefix`.
    pub fn is_of(&self, prefix: &Prefix) -> bool {
        let environment = self.environment.as_ref();
        self.application == prefix.application
            && self.role == prefix.role
            && environment.is_none_or(|it| *it == prefix.environment)
    }
}
