//! JSON whose objects name no field twice. Which of the two is meant nobody knows, and others on the way
//! may have read the other one ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259), section 4).

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Value};

use crate::problem::{MALFORMED, Problem};

/// The value that `text` stands for.
pub(super) fn parse(text: &str) -> Result<Value, Problem> {
    let place = RefCell::default();
    let unique = Unique {
        path: String::new(),
        twice: &place,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let value = unique.deserialize(&mut json);
    let value = value.and_then(|value| json.end().map(|()| value));
    value.map_err(|err| match place.into_inner() {
        Some(field) => Problem::invalid(&field, "is there twice"),
        None => malformed(&err),
    })
}

fn malformed(err: &Error) -> Problem {
    Problem::new(&MALFORMED, format!("the body is not valid JSON: {err}"))
}

/// Builds the value at `path`; `twice` is told the first field that is there a second time.
struct Unique<'a> {
    path: String,
    twice: &'a RefCell<Option<String>>,
}

impl Unique<'_> {
    fn below(&self, path: String) -> Self {
        Self {
            path,
            twice: self.twice,
        }
    }

    fn field(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) =
            seq.next_element_seed(self.below(format!("{}[{}]", self.path, values.len())))?
        {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let path = self.field(&name);
            if fields.contains_key(&name) {
                self.twice.replace(Some(path));
                return Err(A::Error::custom("a field is there twice"));
            }
            fields.insert(name, map.next_value_seed(self.below(path))?);
        }
        Ok(Value::Object(fields))
    }
}
