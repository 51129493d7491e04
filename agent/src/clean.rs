//! Removes U+0000 from text and JSON, because Postgres can't store it in either.

use serde_json::{Map, Value};

/// At most this many levels of nesting in a provider's data. It is stored and later read as part of other JSON, whose parser
/// allows 128 levels.
const MAX_PROVIDER_DATA_DEPTH: usize = 64;

/// Cleans a provider's data. `None` if it is nested too deeply: a request without it may still succeed.
pub(crate) fn provider_data(data: Box<Value>) -> Option<Box<Value>> {
    (!is_deeper(&data, MAX_PROVIDER_DATA_DEPTH)).then(|| Box::new(value(*data)))
}

/// Whether a value has more than `levels` levels of nesting.
pub(crate) fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(members) => levels == 0 || members.values().any(|member| is_deeper(member, levels - 1)),
        _ => false,
    }
}

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
