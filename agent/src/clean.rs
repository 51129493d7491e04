//! Removes U+0000 from text and JSON, because Postgres can't store it in either.

use serde_json::{Map, Value};

pub(crate) fn text(mut text: String) -> String {
    if text.contains('\0') {
        text.retain(|char| char != '\0');
    }
    text
}

/// Cleans all names and strings of an object, at any depth. Of names that become equal, the last one remains. The JSON
/// parser bounds the depth.
pub(crate) fn object(object: Map<String, Value>) -> Map<String, Value> {
    object
        .into_iter()
        .map(|(name, member)| (text(name), value(member)))
        .collect()
}

fn value(dirty: Value) -> Value {
    match dirty {
        Value::String(string) => Value::String(text(string)),
        Value::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        Value::Object(members) => Value::Object(object(members)),
        Value::Null | Value::Bool(_) | Value::Number(_) => dirty,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn removes_u0000_at_every_depth() {
        let dirty = json!({"a\0": ["x\0y", {"\0b": "\0"}], "n": 1, "t": true, "z": null});
        let Value::Object(dirty) = dirty else { panic!() };
        assert_eq!(
            Value::Object(object(dirty)),
            json!({"a": ["xy", {"b": ""}], "n": 1, "t": true, "z": null})
        );
    }

    #[test]
    fn keeps_other_characters() {
        assert_eq!(text("naïve 🦀\u{1}\n".to_owned()), "naïve 🦀\u{1}\n");
        assert_eq!(text("\0a\0\0b\0".to_owned()), "ab");
    }
}
