//! Fields that are not valid, each by its name.

use service_kit::problem::{INVALID, Problem};

use crate::hostname::InvalidField;

/// A field that is not valid, whose name may be the caller's.
pub(super) type NamedField = (String, String);

/// The problem of these fields.
pub(super) fn invalid<F: Clone + Into<NamedField>>(fields: &[F]) -> Problem {
    let fields: Vec<NamedField> = fields.iter().cloned().map(Into::into).collect();
    let detail: Vec<_> = fields
        .iter()
        .map(|(field, allowed)| format!("{field}: {allowed}"))
        .collect();
    let problem = Problem::new(&INVALID, detail.join("; "));
    fields.iter().fold(problem, |problem, (field, allowed)| {
        problem.field(field, allowed)
    })
}

impl From<InvalidField> for NamedField {
    fn from(field: InvalidField) -> Self {
        (field.field.to_owned(), field.allowed)
    }
}
