//! The bodies of calls for hostnames, each with all that is wrong with it told at once.

use serde_json::{Map, Value};
use service_kit::query::Query;

use super::{field::NamedField, fields::Fields};
use crate::{
    allocator::{Want, Wish},
    hostname::Prefix,
};

/// Hostnames that one call is for.
pub(super) const MANY_MAX: usize = 1000;

type Body = Map<String, Value>;

/// Reads a request for one hostname.
pub(super) fn parse_one(body: Body) -> Result<Wish, Vec<NamedField>> {
    let mut fields = Fields::of(body);
    let prefix = fields.prefix();
    let remarks = fields.remarks();
    fields.finish(prefix.map(|prefix| Wish {
        prefix,
        want: Want::One,
        remarks,
    }))
}

/// Reads a request for several hostnames.
pub(super) fn parse_batch(body: Body) -> Result<Wish, Vec<NamedField>> {
    let mut fields = Fields::of(body);
    let prefix = fields.prefix();
    let remarks = fields.remarks();
    let count = fields.number("count", MANY_MAX as u64);
    let want = count.and_then(|count| Some(Want::Count(usize::try_from(count).ok()?)));
    fields.finish(prefix.zip(want).map(|(prefix, want)| Wish {
        prefix,
        want,
        remarks,
    }))
}

/// Reads a request to import hostnames that were made elsewhere, and whether it is only a question.
pub(super) fn parse_import(body: Body) -> Result<(Wish, bool), Vec<NamedField>> {
    let mut fields = Fields::of(body);
    let prefix = fields.prefix();
    let remarks = fields.remarks();
    let counters = fields.numbers("counters", MANY_MAX);
    let dry_run = fields.switch("dry_run");
    if let (Some(prefix), Some(highest)) = (&prefix, counters.iter().flatten().last())
        && highest.get() > prefix.last()
    {
        fields.refuse("counters", beyond(prefix));
    }
    let wish = prefix.zip(counters).map(|(prefix, counters)| Wish {
        prefix,
        want: Want::Chosen(counters),
        remarks,
    });
    fields.finish(wish.map(|wish| (wish, dry_run)))
}

/// Reads a floor for the numbers of `prefix`.
pub(super) fn parse_floor(body: Body, prefix: &Prefix) -> Result<u64, Vec<NamedField>> {
    let mut fields = Fields::of(body);
    let floor = fields.number("floor", u64::MAX);
    if floor.is_some_and(|floor| floor > prefix.last()) {
        fields.refuse("floor", beyond(prefix));
    }
    fields.finish(floor)
}

/// Reads why a hostname is retired, and for whom.
pub(super) fn parse_retirement(query: Query) -> Result<(String, Option<String>), Vec<NamedField>> {
    let mut fields = Fields::of_query(query, &[]);
    let (reason, requested_by) = fields.reasons();
    fields.finish(reason.map(|reason| (reason, requested_by)))
}

/// Reads which hostnames somebody would like to see beforehand, one unless he says how many.
pub(super) fn parse_preview(query: Query) -> Result<(Prefix, usize), Vec<NamedField>> {
    let mut fields = Fields::of_query(query, &["count"]);
    let prefix = fields.prefix();
    let count = match fields.has("count") {
        true => fields.number("count", MANY_MAX as u64),
        false => Some(1),
    };
    let count = count.and_then(|count| usize::try_from(count).ok());
    fields.finish(prefix.zip(count))
}

fn beyond(prefix: &Prefix) -> String {
    format!("the highest number of this prefix is {}", prefix.last())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names<T>(parsed: Result<T, Vec<NamedField>>) -> Vec<String> {
        let wrong = parsed.err().expect("nothing is wrong");
        wrong.into_iter().map(|(field, _)| field).collect()
    }

    fn body(value: Value) -> Body {
        match value {
            Value::Object(body) => body,
            _ => panic!("no object"),
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let wrong = json!({
            "application": 7, "environment": "Dev", "requested_by": "", "reason": "a\u{0}b",
            "labels": { "ok": "x", "no": 3, "n o": "x" }, "rolle": "web",
        });
        let fields = [
            "application",
            "role",
            "environment",
            "requested_by",
            "reason",
            "labels.n o",
            "labels.no",
            "rolle",
        ];
        assert_eq!(names(parse_one(body(wrong))), fields);
    }

    #[test]
    fn parts_that_are_too_long_together_are_refused() {
        let long = json!({ "application": "a".repeat(60), "role": "bb", "environment": "c" });
        assert_eq!(names(parse_one(body(long))), ["application"]);
    }

    #[test]
    fn chosen_numbers_are_put_in_order_and_each_is_there_once() {
        let import = |counters: Value| {
            let parts = json!({ "application": "a", "role": "b", "environment": "c", "counters": counters });
            parse_import(body(parts))
        };
        let (wish, dry_run) = import(json!([7, 3])).unwrap();
        let counters = [3, 7].map(|number| crate::hostname::Counter::new(number).unwrap());
        assert_eq!(
            (wish.want, dry_run),
            (Want::Chosen(counters.to_vec()), false)
        );
        for refused in [
            json!([]),
            json!([0]),
            json!([1, 1]),
            json!(["1"]),
            json!([1.5]),
            json!([-1]),
            json!(7),
            json!(null),
            json!([1_u64 << 53]),
            (1..=1001).collect(),
        ] {
            assert_eq!(names(import(refused.clone())), ["counters"], "{refused}");
        }
    }
}
