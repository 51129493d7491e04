//! JSON Schemas of arguments: checked when tools are listed, and used to validate calls.

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::text;

/// Maximum nesting of a schema.
const MAX_LEVELS: usize = 32;
/// Maximum size of a compiled pattern in bytes.
const MAX_PATTERN_BYTES: usize = 256 * 1024;
/// Maximum number of reported errors.
const MAX_ERRORS: usize = 3;
/// Maximum length of a reported error in bytes.
const MAX_ERROR_BYTES: usize = 300;

/// The reason why a schema can't be used.
#[derive(Debug, Error)]
pub(crate) enum InvalidSchema {
    #[error("its schema has {0} bytes")]
    TooLarge(usize),
    #[error("its schema is nested more than {MAX_LEVELS} levels deep")]
    TooDeep,
    #[error("its schema doesn't describe an object")]
    NotAnObject,
    /// Rejected by the validator.
    #[error("its schema is invalid: {0}")]
    Invalid(String),
}

/// A schema that validates arguments.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The cleaned schema, for models.
    pub(crate) json: Value,
    validator: Validator,
}

impl Schema {
    /// Checks a schema of at most `max_bytes`. References to other documents are errors; nothing is fetched.
    pub(crate) fn new(source: &Map<String, Value>, max_bytes: usize) -> Result<Self, InvalidSchema> {
        let bytes = serde_json::to_string(source).map_or(usize::MAX, |text| text.len());
        if bytes > max_bytes {
            return Err(InvalidSchema::TooLarge(bytes));
        }
        let mut object = source.clone();
        let kind = object.entry("type").or_insert_with(|| "object".into());
        if kind != "object" {
            return Err(InvalidSchema::NotAnObject);
        }
        let json = text::clean_value(Value::Object(object), MAX_LEVELS).ok_or(InvalidSchema::TooDeep)?;
        // The `regex` crate matches in linear time, whatever the pattern.
        let patterns = PatternOptions::regex()
            .size_limit(MAX_PATTERN_BYTES)
            .dfa_size_limit(MAX_PATTERN_BYTES);
        let validator = jsonschema::options()
            .with_pattern_options(patterns)
            .build(&json)
            .map_err(|error| InvalidSchema::Invalid(text::line(&error.to_string(), MAX_ERROR_BYTES)))?;
        Ok(Self { json, validator })
    }

    /// Describes the errors in `arguments` for the model. `None` if they are valid.
    pub(crate) fn errors(&self, arguments: &Value) -> Option<String> {
        let errors: Vec<_> = self
            .validator
            .iter_errors(arguments)
            .take(MAX_ERRORS)
            .map(|error| {
                let message = text::line(&error.masked().to_string(), MAX_ERROR_BYTES);
                match error.instance_path().to_string() {
                    path if path.is_empty() => message,
                    path => format!("{}: {message}", text::line(&path, MAX_ERROR_BYTES)),
                }
            })
            .collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(source: &Value) -> Result<Schema, String> {
        Schema::new(source.as_object().unwrap(), 2000).map_err(|error| error.to_string())
    }

    #[test]
    fn validates_arguments() {
        let schema = schema(&json!({
            "properties": {"path": {"type": "string", "pattern": "^/"}, "lines": {"type": "integer"}},
            "required": ["path"],
            "additionalProperties": false
        }))
        .unwrap();
        assert_eq!(schema.json["type"], "object");
        assert_eq!(schema.errors(&json!({"path": "/a", "lines": 3})), None);
        let error = schema.errors(&json!({})).unwrap();
        assert!(error.contains("\"path\" is a required property"), "{error}");
        let errors = schema
            .errors(&json!({"path": "a", "lines": "3", "x": 1}))
            .unwrap();
        assert!(errors.contains("/lines: "), "{errors}");
        assert_eq!(errors.matches("; ").count(), 2, "{errors}");
    }

    #[test]
    fn rejects_invalid_and_excessive_schemas() {
        let mut deep = json!({"type": "object"});
        for _ in 0..20 {
            deep = json!({"type": "object", "properties": {"a": deep}});
        }
        let cases = [
            (json!({"type": "string"}), "doesn't describe an object"),
            (json!({"type": ["object", "null"]}), "doesn't describe an object"),
            (json!({"description": "x".repeat(2000)}), "its schema has 20"),
            (deep, "nested more than 32"),
            (
                json!({"properties": {"a": {"type": "nothing"}}}),
                "its schema is invalid",
            ),
            (
                json!({"properties": {"a": {"pattern": "("}}}),
                "its schema is invalid",
            ),
            (
                json!({"$ref": "http://127.0.0.1:1/schema.json"}),
                "its schema is invalid",
            ),
            (
                json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
                "its schema is invalid",
            ),
        ];
        for (source, expected) in cases {
            let error = schema(&source).unwrap_err();
            assert!(error.contains(expected), "{source}: {error}");
        }
    }
}
