//! JSON Schemas of arguments: checked when tools are listed, and used to validate calls.

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::{dialect, text};

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
    /// The cleaned schema in draft 2020-12, for models.
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
        if !describes_object(object.get("type")) {
            return Err(InvalidSchema::NotAnObject);
        }
        object.insert("type".to_owned(), "object".into());
        let mut json = text::clean_value(Value::Object(object), MAX_LEVELS).ok_or(InvalidSchema::TooDeep)?;
        dialect::convert(&mut json);
        let mut checked = json.clone();
        drop_patterns(&mut checked);
        let validator = validator(&checked)
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

/// Whether values of this `type` can be objects. Arguments are always objects, so a missing type means one.
fn describes_object(kind: Option<&Value>) -> bool {
    match kind {
        None | Some(Value::Null) => true,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        Some(kind) => kind == "object",
    }
}

/// The `regex` crate matches in linear time, whatever the pattern. It doesn't support lookaround and backreferences.
fn validator(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    let patterns = PatternOptions::regex()
        .size_limit(MAX_PATTERN_BYTES)
        .dfa_size_limit(MAX_PATTERN_BYTES);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(patterns)
        .build(schema)
}

/// Drops patterns that can't be compiled. The server checks them.
fn drop_patterns(schema: &mut Value) {
    let Value::Object(members) = schema else {
        return;
    };
    let is_compilable = |pattern: &Value| validator(&json!({"pattern": pattern})).is_ok();
    if members
        .get("pattern")
        .is_some_and(|pattern| !is_compilable(pattern))
    {
        members.remove("pattern");
    }
    if let Some(Value::Object(properties)) = members.get_mut("patternProperties") {
        let all = properties.len();
        properties.retain(|pattern, _| is_compilable(&json!(pattern)));
        if properties.len() < all {
            // These would also apply to the properties that the dropped pattern matches.
            members.remove("additionalProperties");
            members.remove("unevaluatedProperties");
        }
    }
    dialect::for_each_subschema(members, drop_patterns);
}

#[cfg(test)]
mod tests {
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
            (json!({"type": ["array", "null"]}), "doesn't describe an object"),
            (json!({"description": "x".repeat(2000)}), "its schema has 20"),
            (deep, "nested more than 32"),
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

    #[test]
    fn accepts_every_form_of_an_object() {
        for source in [
            json!({}),
            json!({"type": null}),
            json!({"type": ["object"]}),
            json!({"type": ["object", "null"], "properties": null}),
            json!({"$schema": "http://json-schema.org/draft-04/schema#"}),
            json!({"$schema": "https://json-schema.org/draft-07/schema"}),
            json!({"$schema": "https://json-schema.org/draft/2019-09/schema"}),
            json!({"$schema": "https://example.com/unknown"}),
        ] {
            let schema = schema(&source).unwrap();
            assert_eq!(schema.json["type"], "object", "{source}");
            assert_eq!(schema.errors(&json!({"a": 1})), None, "{source}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_compiled_are_not_checked() {
        let schema = schema(&json!({
            "properties": {
                "email": {"type": "string", "pattern": r"^(?!\.)(?!.*\.\.)[a-z.]+@[a-z]+$"},
                "twice": {"type": "array", "items": {"pattern": r"^(a|b)\1$"}},
                "broken": {"pattern": "("},
                "path": {"pattern": "^/"}
            },
            "patternProperties": {"^(?=x)": {"type": "integer"}},
            "additionalProperties": false
        }))
        .unwrap();
        let sent = json!({"email": "not one", "twice": ["ab"], "broken": "b", "path": "/a", "xyz": "b"});
        assert_eq!(schema.errors(&sent), None);
        for invalid in [json!({"email": 3}), json!({"path": "a"})] {
            assert!(schema.errors(&invalid).is_some(), "{invalid}");
        }
        assert!(
            schema.json["properties"]["email"]["pattern"].is_string(),
            "the pattern is part of what the model sees"
        );
    }
}
