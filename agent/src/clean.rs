//! Text as the database can keep it: Postgres takes no U+0000, neither in text nor in JSON.

use serde_json::{Map, Value};

/// Removes every U+0000.
pub(crate) fn text(mut text: String) -> String {
    if text.contains('\0') {
        text.retain(|char| char != '\0');
    }
    text
}

/// Removes every U+0000 from the names and the strings of an object, however deep. Names that become equal by it merge,
/// the later one wins. The depth is bounded by the parser that made the object.
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
    fn u_0000_is_removed_at_every_depth() {
        let dirty = json!({"a\0": ["x\0y", {"\0b": "\0"}], "n": 1, "t": true, "z": null});
        let Value::Object(dirty) = dirty else { panic!() };
        assert_eq!(
            Value::Object(object(dirty)),
            json!({"a": ["xy", {"b": ""}], "n": 1, "t": true, "z": null})
        );
    }

    #[test]
    fn other_text_is_left_alone() {
        assert_eq!(text("naïve 🦀\u{1}\n".to_owned()), "naïve 🦀\u{1}\n");
        assert_eq!(text("\0a\0\0b\0".to_owned()), "ab");
    }
}
