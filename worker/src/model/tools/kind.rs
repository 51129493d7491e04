//! The types of a schema's values.

use serde_json::{Map, Value};

/// Keywords that imply a type if there is no `type`.
const IMPLIED: [(&str, &str); 13] = [
    ("properties", "object"),
    ("required", "object"),
    ("additionalProperties", "object"),
    ("items", "array"),
    ("prefixItems", "array"),
    ("minItems", "array"),
    ("pattern", "string"),
    ("format", "string"),
    ("minLength", "string"),
    ("maxLength", "string"),
    ("minimum", "number"),
    ("maximum", "number"),
    ("exclusiveMinimum", "number"),
];

/// The types of a schema's values. A schema without type has none.
#[derive(Debug, Default)]
pub(super) struct Kinds<'a> {
    /// The types other than null.
    pub(super) others: Vec<&'a str>,
    pub(super) is_nullable: bool,
}

impl<'a> Kinds<'a> {
    pub(super) fn of(schema: &'a Map<String, Value>) -> Self {
        let listed = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(kind)) => vec![kind.as_str()],
            _ => Self::implied(schema),
        };
        let mut kinds = Self::default();
        for kind in listed {
            if kind == "null" {
                kinds.is_nullable = true;
            } else if !kinds.others.contains(&kind) {
                kinds.others.push(kind);
            }
        }
        // Every integer is a number.
        if kinds.others.contains(&"number") {
            kinds.others.retain(|kind| *kind != "integer");
        }
        let values = schema.get("enum").and_then(Value::as_array);
        kinds.is_nullable |= values.is_some_and(|values| values.contains(&Value::Null));
        kinds
    }

    fn implied(schema: &'a Map<String, Value>) -> Vec<&'a str> {
        let single = schema.get("const").map(std::slice::from_ref);
        let values = single.or_else(|| schema.get("enum")?.as_array().map(Vec::as_slice));
        if let Some(values) = values {
            return values.iter().map(Self::of_value).collect();
        }
        let implied = IMPLIED.iter().find(|(keyword, _)| schema.contains_key(*keyword));
        implied.iter().map(|(_, kind)| *kind).collect()
    }

    const fn of_value(value: &Value) -> &'static str {
        match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }
    }
}
