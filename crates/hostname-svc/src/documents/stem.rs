//! Who may use a stem.

use serde::{Deserialize, Serialize};

use super::Format;
use crate::hostname::{Application, Role};

/// Who uses a stem: the first prefix that did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StemDocument {
    /// Format of this document.
    pub format: Format,
    /// The application that ends where the role begins.
    pub application: Application,
    /// The role.
    pub role: Role,
}
