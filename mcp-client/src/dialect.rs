//! Converts schemas of any JSON Schema draft to draft 2020-12, and drops keywords that are malformed.
//!
//! Servers write drafts 4 to 2020-12 with and without `$schema`, `OpenAPI` keywords, and `null` for keywords they don't use. A keyword
//! that is dropped here isn't checked by the client; the server still checks it.

use serde_json::{Map, Value, json};

const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];
/// Keywords whose value is a schema.
const SCHEMA: [&str; 10] = [
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords whose value is a list of schemas. It must not be empty.
const SCHEMA_LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is an object of schemas.
const SCHEMA_MAP: [&str; 5] = [
    "$defs",
    "definitions",
    "dependentSchemas",
    "patternProperties",
    "properties",
];
const COUNT: [&str; 8] = [
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
];
const NUMBER: [&str; 5] = [
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maximum",
    "minimum",
    "multipleOf",
];
const TEXT: [&str; 5] = ["$comment", "description", "format", "pattern", "title"];
const FLAG: [&str; 4] = ["deprecated", "readOnly", "uniqueItems", "writeOnly"];

/// Converts a schema and all its subschemas in place. The nesting must be bounded by the caller.
pub(crate) fn convert(schema: &mut Value) {
    let Value::Object(members) = schema else {
        if !schema.is_boolean() {
            *schema = Value::Bool(true);
        }
        return;
    };
    // The draft is known from the keywords.
    members.remove("$schema");
    members.retain(|name, value| !value.is_null() || matches!(name.as_str(), "default" | "const"));
    convert_tuple(members);
    convert_limit(members, "minimum", "exclusiveMinimum");
    convert_limit(members, "maximum", "exclusiveMaximum");
    members.retain(|name, value| is_well_formed(name, value));
    convert_type(members);
    convert_nullable(members);
    if let Some(Value::Array(required)) = members.get_mut("required") {
        required.retain(Value::is_string);
        let mut seen = Vec::new();
        required.retain(|name| {
            let is_new = !seen.contains(name);
            seen.push(name.clone());
            is_new
        });
    }
    for_each_subschema(members, convert);
}

/// Calls `visit` with every direct subschema.
pub(crate) fn for_each_subschema(members: &mut Map<String, Value>, mut visit: impl FnMut(&mut Value)) {
    for (name, value) in members {
        let name = name.as_str();
        match value {
            Value::Array(list) if SCHEMA_LIST.contains(&name) => list.iter_mut().for_each(&mut visit),
            Value::Object(map) if SCHEMA_MAP.contains(&name) => map.values_mut().for_each(&mut visit),
            value if SCHEMA.contains(&name) => visit(value),
            _ => {}
        }
    }
}

fn is_well_formed(name: &str, value: &Value) -> bool {
    if SCHEMA_LIST.contains(&name) {
        value.as_array().is_some_and(|list| !list.is_empty())
    } else if SCHEMA_MAP.contains(&name) {
        value.is_object()
    } else if COUNT.contains(&name) {
        value.is_u64()
    } else if NUMBER.contains(&name) {
        value.is_number() && (name != "multipleOf" || value.as_f64().is_some_and(|divisor| divisor > 0.0))
    } else if TEXT.contains(&name) {
        value.is_string()
    } else if FLAG.contains(&name) {
        value.is_boolean()
    } else if matches!(name, "enum" | "required" | "examples") {
        value.is_array()
    } else {
        true
    }
}

/// Drafts up to 2019-09: a list of schemas in `items`, and `additionalItems` for further items.
fn convert_tuple(members: &mut Map<String, Value>) {
    let further = members.remove("additionalItems");
    if members.get("items").is_some_and(Value::is_array) {
        if let Some(items) = members.remove("items") {
            members.insert("prefixItems".to_owned(), items);
        }
        if let Some(further) = further {
            members.insert("items".to_owned(), further);
        }
    }
}

/// Draft 4: `exclusiveMinimum: true` makes `minimum` exclusive.
fn convert_limit(members: &mut Map<String, Value>, inclusive: &str, exclusive: &str) {
    if members.get(exclusive) == Some(&Value::Bool(true))
        && let Some(limit) = members.remove(inclusive)
    {
        members.insert(exclusive.to_owned(), limit);
    }
}

/// Drops types that don't exist, such as `any`. Gemini's notation has upper case.
fn convert_type(members: &mut Map<String, Value>) {
    let Some(kind) = members.remove("type") else {
        return;
    };
    let kinds = match kind {
        Value::Array(kinds) => kinds,
        kind => vec![kind],
    };
    let mut known: Vec<_> = kinds
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_ascii_lowercase)
        .filter(|kind| TYPES.contains(&kind.as_str()))
        .collect();
    known.sort_unstable();
    known.dedup();
    match known.as_slice() {
        [] => None,
        [kind] => members.insert("type".to_owned(), json!(kind)),
        kinds => members.insert("type".to_owned(), json!(kinds)),
    };
}

/// `OpenAPI` 3.0: `nullable: true` allows null.
fn convert_nullable(members: &mut Map<String, Value>) {
    if members.remove("nullable") != Some(Value::Bool(true)) {
        return;
    }
    if let Some(Value::Array(values)) = members.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    match members.get_mut("type") {
        Some(Value::Array(kinds)) if !kinds.contains(&json!("null")) => kinds.push(json!("null")),
        Some(kind @ Value::String(_)) => *kind = json!([kind.take(), "null"]),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_drafts_and_openapi_are_converted() {
        let cases = [
            (
                json!({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 0, "exclusiveMinimum": true}),
                json!({"exclusiveMinimum": 0}),
            ),
            (
                json!({"maximum": 9, "exclusiveMaximum": false}),
                json!({"maximum": 9}),
            ),
            (
                json!({"items": [{"type": "string", "nullable": true}, true], "additionalItems": false}),
                json!({"prefixItems": [{"type": ["string", "null"]}, true], "items": false}),
            ),
            (
                json!({"properties": {"a": {"type": "STRING", "enum": ["x"], "nullable": true}}}),
                json!({"properties": {"a": {"type": ["string", "null"], "enum": ["x", null]}}}),
            ),
        ];
        for (source, expected) in cases {
            let mut schema = source.clone();
            convert(&mut schema);
            assert_eq!(schema, expected, "{source}");
        }
    }

    #[test]
    fn malformed_keywords_are_dropped() {
        let mut schema = json!({
            "type": "object",
            "properties": {
                "a": {"type": "any", "required": true, "minLength": "3", "description": null, "enum": null},
                "b": {"type": ["integer", "int"], "minimum": "0", "default": null},
                "type": "object",
                "c": {"anyOf": [], "pattern": 3, "items": "string"}
            },
            "required": ["b", 3, "b"],
            "$defs": null
        });
        convert(&mut schema);
        let expected = json!({
            "type": "object",
            "properties": {
                "a": {},
                "b": {"type": "integer", "default": null},
                "type": true,
                "c": {"items": true}
            },
            "required": ["b"]
        });
        assert_eq!(schema, expected);
    }
}
