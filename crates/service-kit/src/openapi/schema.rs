//! Schemas that are written field by field, where a body is read so.

use std::ops::RangeInclusive;

use utoipa::openapi::{
    AllOfBuilder, ArrayBuilder, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema,
    schema::{AdditionalProperties, Type},
};

/// Neither a C0 nor a C1 control character nor DEL, as a regular expression of the whole text.
pub const NO_CONTROLS: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

/// The fields of a body; others are refused.
pub fn fields() -> ObjectBuilder {
    let nothing_else = AdditionalProperties::<Schema>::FreeForm(false);
    members().additional_properties(Some(nothing_else))
}

/// The members of an answer; others may come with a later version.
pub fn members() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object)
}

/// An object of strings under names of the caller's own.
pub fn strings() -> ObjectBuilder {
    let text = AdditionalProperties::RefOr(RefOr::T(text().into()));
    members().additional_properties(Some(text))
}

/// A text.
pub fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A text of `bytes` in UTF-8 without control characters. A schema counts characters: at most as many.
pub fn line(bytes: RangeInclusive<usize>) -> ObjectBuilder {
    text()
        .min_length(Some(*bytes.start()).filter(|least| *least > 0))
        .max_length(Some(*bytes.end()))
        .pattern(Some(NO_CONTROLS))
}

/// One of several words.
pub fn word<'a>(words: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    text().enum_values(Some(words))
}

/// A whole number.
pub fn whole(range: RangeInclusive<u64>) -> ObjectBuilder {
    // Exact up to 2^53, and no limit is beyond.
    #[expect(clippy::cast_precision_loss, reason = "limits are small numbers")]
    let (least, most) = (*range.start() as f64, *range.end() as f64);
    let number = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least));
    match *range.end() {
        u64::MAX => number,
        _ => number.maximum(Some(most)),
    }
}

/// Yes or no.
pub fn flag() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}

/// A list.
pub fn list(items: impl Into<RefOr<Schema>>, length: RangeInclusive<usize>) -> ArrayBuilder {
    ArrayBuilder::new()
        .items(items.into())
        .min_items(Some(*length.start()).filter(|least| *least > 0))
        .max_items(Some(*length.end()).filter(|most| *most < usize::MAX))
}

/// The schema of this name in the same document.
pub fn named(name: &str) -> Ref {
    Ref::from_schema_name(name)
}

/// `body`, in which exactly one of several groups of fields stands.
pub fn one_of(body: ObjectBuilder, groups: &[&[&str]]) -> Schema {
    let about = body.build();
    let group = |names: &&[&str]| {
        let group = names
            .iter()
            .fold(members(), |group, name| group.required(*name));
        Schema::Object(group.build())
    };
    let choice = groups.iter().fold(OneOfBuilder::new(), |choice, names| {
        choice.item(group(names))
    });
    AllOfBuilder::new().item(about).item(choice).into()
}
