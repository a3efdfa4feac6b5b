//! The query of a listing.

use serde::de::DeserializeOwned;
use service_kit::query::{Query, number, shortened};

use super::field::NamedField;
use crate::{
    hostname::{InvalidField, Prefix},
    hostnames::{Filter, decode},
};

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 500;

/// The query of a listing.
#[derive(Debug)]
pub(super) struct ListQuery<P> {
    pub(super) filter: Filter,
    pub(super) after: Option<P>,
    pub(super) limit: usize,
}

impl<P: DeserializeOwned> ListQuery<P> {
    /// Reads a query whose positions lie in the prefix that `place` tells.
    pub(super) fn parse(
        pairs: Query,
        place: impl Fn(&P) -> &Prefix,
    ) -> Result<Self, Vec<NamedField>> {
        let mut query = Self {
            filter: Filter::default(),
            after: None,
            limit: PAGE_DEFAULT,
        };
        let (mut after, mut wrong, mut seen) = (None, Vec::new(), Vec::new());
        for (name, value) in pairs.0 {
            let parsed = match name.as_str() {
                "application" => value
                    .try_into()
                    .map(|it| query.filter.application = Some(it)),
                "role" => value.try_into().map(|it| query.filter.role = Some(it)),
                "environment" => value
                    .try_into()
                    .map(|it| query.filter.environment = Some(it)),
                "limit" => page_size(&value).map(|it| query.limit = it),
                "after" => {
                    after = Some(value);
                    Ok(())
                }
                _ => {
                    let known = "is not known; the parameters are application, role, environment, after, limit";
                    wrong.push((shortened(&name), known.to_owned()));
                    continue;
                }
            };
            wrong.extend(
                parsed
                    .err()
                    .map(|field| (field.field.to_owned(), field.allowed)),
            );
            seen.push(name);
        }
        query.check_order(&seen, &mut wrong);
        if let Some(after) = after {
            let covered = |position: &P| query.filter.covers(place(position));
            query.after = decode(&after).filter(covered);
            if query.after.is_none() {
                let rule = "must be the `next` of an earlier answer to the same application, role and environment";
                wrong.push(("after".to_owned(), rule.to_owned()));
            }
        }
        if wrong.is_empty() {
            Ok(query)
        } else {
            Err(wrong)
        }
    }

    /// Hostnames are kept by application, then role, then environment.
    fn check_order(&self, seen: &[String], wrong: &mut Vec<NamedField>) {
        let has = |name: &str| seen.iter().any(|seen| seen == name);
        if has("role") && !has("application") {
            wrong.push((
                "role".to_owned(),
                "needs an application beside it".to_owned(),
            ));
        }
        if has("environment") && !has("role") {
            wrong.push((
                "environment".to_owned(),
                "needs a role beside it".to_owned(),
            ));
        }
    }
}

fn page_size(text: &str) -> Result<usize, InvalidField> {
    match number(text).and_then(|size| usize::try_from(size).ok()) {
        Some(size @ 1..=PAGE_MAX) => Ok(size),
        _ => Err(InvalidField::new(
            "limit",
            format!("must be a whole number from 1 to {PAGE_MAX}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostnames::Position;

    #[test]
    fn a_query_names_what_it_does_not_know() {
        let pairs = [
            ("aplication", "x"),
            ("limit", "501"),
            ("environment", "dev"),
            ("after", "x"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let wrong = ListQuery::parse(Query(pairs.into()), Position::prefix).unwrap_err();
        let wrong: Vec<_> = wrong.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(wrong, ["aplication", "limit", "environment", "after"]);
    }
}
