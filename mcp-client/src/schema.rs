//! The schemas of arguments: checked before a model sees one, and held against what it then writes.

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::text;

/// Levels of a schema.
const MOST_LEVELS: usize = 32;
/// Bytes of a compiled pattern.
const MOST_PATTERN_BYTES: usize = 256 * 1024;
/// What is wrong with arguments is told so often at most.
const MOST_FAULTS: usize = 3;
/// Bytes in which one of them is told.
const FAULT_BYTES: usize = 300;

/// Why a schema is not used.
#[derive(Debug, Error)]
pub(crate) enum BadSchema {
    /// Larger than it may be.
    #[error("its schema has {0} bytes")]
    TooLarge(usize),
    /// Nested too deep.
    #[error("its schema is nested more than {MOST_LEVELS} levels deep")]
    TooDeep,
    /// Of something else than an object.
    #[error("its schema is not one of an object")]
    NoObject,
    /// What the validator says.
    #[error("its schema is none: {0}")]
    Invalid(String),
}

/// A schema that arguments can be held against.
#[derive(Debug)]
pub(crate) struct Schema {
    /// As models are shown it.
    pub(crate) shown: Value,
    validator: Validator,
}

impl Schema {
    /// Checks a schema of at most so many bytes. Nothing is fetched for it: one that refers to elsewhere is no good.
    pub(crate) fn new(written: &Map<String, Value>, most_bytes: usize) -> Result<Self, BadSchema> {
        let bytes = serde_json::to_string(written).map_or(usize::MAX, |text| text.len());
        if bytes > most_bytes {
            return Err(BadSchema::TooLarge(bytes));
        }
        let mut written = written.clone();
        let kind = written.entry("type").or_insert_with(|| "object".into());
        if kind != "object" {
            return Err(BadSchema::NoObject);
        }
        let shown = text::clean_value(Value::Object(written), MOST_LEVELS).ok_or(BadSchema::TooDeep)?;
        // Patterns take time in proportion to the text, whatever they are.
        let patterns = PatternOptions::regex()
            .size_limit(MOST_PATTERN_BYTES)
            .dfa_size_limit(MOST_PATTERN_BYTES);
        let validator = jsonschema::options()
            .with_pattern_options(patterns)
            .build(&shown)
            .map_err(|error| BadSchema::Invalid(text::line(&error.to_string(), FAULT_BYTES)))?;
        Ok(Self { shown, validator })
    }

    /// What is wrong with arguments, for the model; none if they fit.
    pub(crate) fn faults(&self, arguments: &Value) -> Option<String> {
        let faults: Vec<_> = self
            .validator
            .iter_errors(arguments)
            .take(MOST_FAULTS)
            .map(|error| {
                let what = text::line(&error.masked().to_string(), FAULT_BYTES);
                match error.instance_path().to_string() {
                    path if path.is_empty() => what,
                    path => format!("{}: {what}", text::line(&path, FAULT_BYTES)),
                }
            })
            .collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(written: &Value) -> Result<Schema, String> {
        Schema::new(written.as_object().unwrap(), 2000).map_err(|bad| bad.to_string())
    }

    #[test]
    fn arguments_are_held_against_the_schema() {
        let schema = schema(&json!({
            "properties": {"path": {"type": "string", "pattern": "^/"}, "lines": {"type": "integer"}},
            "required": ["path"],
            "additionalProperties": false
        }))
        .unwrap();
        assert_eq!(schema.shown["type"], "object");
        assert_eq!(schema.faults(&json!({"path": "/a", "lines": 3})), None);
        let fault = schema.faults(&json!({})).unwrap();
        assert!(fault.contains("\"path\" is a required property"), "{fault}");
        let faults = schema
            .faults(&json!({"path": "a", "lines": "3", "x": 1}))
            .unwrap();
        assert!(faults.contains("/lines: "), "{faults}");
        assert_eq!(faults.matches("; ").count(), 2, "{faults}");
    }

    #[test]
    fn a_schema_that_is_none_or_too_much_is_refused() {
        let mut deep = json!({"type": "object"});
        for _ in 0..20 {
            deep = json!({"type": "object", "properties": {"a": deep}});
        }
        let cases = [
            (json!({"type": "string"}), "not one of an object"),
            (json!({"type": ["object", "null"]}), "not one of an object"),
            (json!({"description": "x".repeat(2000)}), "its schema has 20"),
            (deep, "nested more than 32"),
            (
                json!({"properties": {"a": {"type": "nothing"}}}),
                "its schema is none",
            ),
            (
                json!({"properties": {"a": {"pattern": "("}}}),
                "its schema is none",
            ),
            (
                json!({"$ref": "http://127.0.0.1:1/schema.json"}),
                "its schema is none",
            ),
            (
                json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
                "its schema is none",
            ),
        ];
        for (written, expected) in cases {
            let bad = schema(&written).unwrap_err();
            assert!(bad.contains(expected), "{written}: {bad}");
        }
    }
}
