//! The tools of a request: what is offered, and in which form.

mod alternatives;
mod kind;
mod part;
mod schema;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use errand_agent::ToolSpec;
use serde::Serialize;
use serde_json::{Value, value::RawValue};

/// Maximum number of tools in a request. Source: `OpenAI`'s API reference, "a max of 128 functions are supported".
const MAX_TOOLS: usize = 128;

/// The tools of one client: its own, and those of MCP servers, which can be others in each request.
#[derive(Debug)]
pub(super) struct OfferedTools {
    own: Vec<ToolSpec>,
    own_json: Option<Arc<RawValue>>,
    /// The last other tools, with the JSON of all tools. They rarely change between requests.
    last: Mutex<Option<(Vec<ToolSpec>, Arc<RawValue>)>>,
    is_limit_logged: AtomicBool,
}

impl OfferedTools {
    /// # Errors
    /// If a tool can't be serialized.
    pub(super) fn new(own: Vec<ToolSpec>) -> Result<Self, serde_json::Error> {
        Ok(Self {
            own_json: json(own.iter())?,
            own,
            last: Mutex::default(),
            is_limit_logged: AtomicBool::new(false),
        })
    }

    /// The `tools` member of a request. `None` if there are no tools, because servers reject an empty list.
    ///
    /// # Errors
    /// If a tool can't be serialized.
    pub(super) fn json(&self, others: &[ToolSpec]) -> Result<Option<Arc<RawValue>>, serde_json::Error> {
        if others.is_empty() {
            return Ok(self.own_json.clone());
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, json)) = last.as_ref().filter(|(offered, _)| offered == others) {
            return Ok(Some(Arc::clone(json)));
        }
        self.log_excess(others);
        let json = json(self.own.iter().chain(others))?;
        *last = json.as_ref().map(|json| (others.to_vec(), Arc::clone(json)));
        Ok(json)
    }

    /// Logs once per process that some tools are left out.
    fn log_excess(&self, others: &[ToolSpec]) {
        let room = MAX_TOOLS.saturating_sub(self.own.len());
        if let Some(first) = others.get(room)
            && !self.is_limit_logged.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                tools = self.own.len() + others.len(),
                limit = MAX_TOOLS,
                first_left_out = first.name,
                "an agent has more tools than model providers accept; the rest is left out"
            );
        }
    }
}

#[derive(Debug, Serialize)]
struct WireTool<'a> {
    r#type: &'static str,
    function: WireFunctionSpec<'a>,
}

#[derive(Debug, Serialize)]
struct WireFunctionSpec<'a> {
    name: &'a str,
    description: String,
    parameters: Value,
}

fn json<'a>(tools: impl Iterator<Item = &'a ToolSpec>) -> Result<Option<Arc<RawValue>>, serde_json::Error> {
    let tools: Vec<_> = tools.take(MAX_TOOLS).map(WireTool::from).collect();
    if tools.is_empty() {
        return Ok(None);
    }
    serde_json::value::to_raw_value(&tools).map(|json| Some(json.into()))
}

impl<'a> From<&'a ToolSpec> for WireTool<'a> {
    fn from(spec: &'a ToolSpec) -> Self {
        let (parameters, notes) = schema::adapt(&spec.parameters);
        let mut description = spec.description.clone();
        for note in notes {
            if !description.is_empty() {
                description.push(' ');
            }
            description.push_str(&note);
        }
        Self {
            r#type: "function",
            function: WireFunctionSpec {
                name: &spec.name,
                description,
                parameters,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(name: &str, parameters: Value) -> ToolSpec {
        ToolSpec {
            name: name.to_owned(),
            description: "Does it.".to_owned(),
            parameters,
        }
    }

    fn value(json: Option<Arc<RawValue>>) -> Value {
        serde_json::from_str(json.unwrap().get()).unwrap()
    }

    /// The function that the model sees.
    fn adapted(parameters: Value) -> Value {
        let offered = OfferedTools::new(vec![spec("a", parameters)]).unwrap();
        value(offered.json(&[]).unwrap())[0]["function"].take()
    }

    /// The property `a`, as the model sees it.
    fn property(source: &Value) -> Value {
        adapted(json!({"type": "object", "properties": {"a": source}}))["parameters"]["properties"]["a"]
            .take()
    }

    fn any() -> Value {
        json!({"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "object", "properties": {}}]})
    }

    #[test]
    fn built_in_tools_keep_their_restrictions() {
        for tool in errand_task_tools::specs() {
            let function = adapted(tool.parameters.clone());
            let mut expected = tool.parameters.clone();
            // Draft 4 doesn't allow an empty list.
            expected
                .as_object_mut()
                .unwrap()
                .retain(|_, value| *value != json!([]));
            assert_eq!(function["parameters"], expected, "{}", tool.name);
            assert_eq!(function["description"], "Does it.");
        }
    }

    #[test]
    fn objects_and_arrays_are_complete() {
        assert_eq!(
            adapted(json!({"type": "object"}))["parameters"],
            json!({"type": "object", "properties": {}})
        );
        assert_eq!(
            property(&json!({"required": ["x"]})),
            json!({"type": "object", "properties": {}})
        );
        assert_eq!(
            property(&json!({"type": "array"})),
            json!({"type": "array", "items": any()})
        );
        assert_eq!(property(&json!({})), any());
        assert_eq!(property(&json!(true)), any());
        assert_eq!(
            property(
                &json!({"prefixItems": [{"type": "string"}, {"type": "string"}], "items": false, "maxItems": 2})
            ),
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 2})
        );
    }

    #[test]
    fn alternatives_at_the_top_are_merged_and_described() {
        let function = adapted(json!({
            "type": "object",
            "properties": {"id": {"type": "integer"}, "name": {"type": "string"}},
            "anyOf": [{"required": ["id"]}, {"required": ["name"]}]
        }));
        let expected = json!({
            "type": "object",
            "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}
        });
        assert_eq!(function["parameters"], expected);
        assert_eq!(
            function["description"],
            "Does it. Required arguments, one of: id | name."
        );

        let function = adapted(json!({
            "type": "object",
            "oneOf": [
                {"properties": {"do": {"const": "add"}, "text": {"type": "string"}}, "required": ["do", "text"]},
                {"properties": {"do": {"const": "drop"}, "id": {"type": "integer"}}, "required": ["do", "id"]}
            ],
            "allOf": [{"properties": {"user": {"type": "string"}}, "required": ["user"]}],
            "not": {"required": ["x"]},
            "enum": [{}]
        }));
        let expected = json!({
            "type": "object",
            "properties": {
                "user": {"type": "string"},
                "do": {"type": "string", "enum": ["add", "drop"]},
                "text": {"type": "string"},
                "id": {"type": "integer"}
            },
            "required": ["user", "do"]
        });
        assert_eq!(function["parameters"], expected);
        let description = function["description"].as_str().unwrap();
        assert!(
            description.ends_with(r#"Required arguments, one of: do = "add", text | do = "drop", id."#),
            "{description}"
        );
    }

    #[test]
    fn references_are_replaced_by_their_targets() {
        let function = adapted(json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "x",
            "$comment": "y",
            "type": "object",
            "properties": {
                "to": {"$ref": "#/$defs/Person", "description": "The recipient."},
                "tree": {"$ref": "#/definitions/Tree"},
                "gone": {"$ref": "#/$defs/Gone"},
                "definitions": {"type": "string"}
            },
            "$defs": {"Person": {"type": "object", "properties": {"name": {"type": "string"}}, "description": "A person."}},
            "definitions": {"Tree": {"type": "object", "properties": {"next": {"$ref": "#/definitions/Tree"}}}}
        }));
        let expected = json!({
            "type": "object",
            "properties": {
                "to": {"type": "object", "properties": {"name": {"type": "string"}}, "description": "The recipient."},
                "tree": {"type": "object", "properties": {"next": {"type": "object", "properties": {}}}},
                "gone": any(),
                "definitions": {"type": "string"}
            }
        });
        assert_eq!(function["parameters"], expected);
    }

    #[test]
    fn multiplying_references_are_bounded() {
        let mut definitions = json!({"d0": {"type": "string", "enum": ["x".repeat(1000)]}});
        for level in 1..20 {
            let lower = json!({"$ref": format!("#/$defs/d{}", level - 1)});
            definitions[format!("d{level}")] =
                json!({"type": "object", "properties": {"a": lower, "b": lower, "c": lower}});
        }
        let function = adapted(json!({"properties": {"x": {"$ref": "#/$defs/d19"}}, "$defs": definitions}));
        let bytes = function.to_string().len();
        assert!(bytes < 200_000, "{bytes}");
    }

    #[test]
    fn unsupported_restrictions_become_notes() {
        let cases = [
            (
                json!({"type": "string", "format": "email", "pattern": "^(?!\\.).+@", "description": "To."}),
                json!({"type": "string", "description": "To. Format: email. Pattern: ^(?!\\.).+@"}),
            ),
            (
                json!({"type": "string", "pattern": r"^\(?(?:a|b)[(?]$", "format": "date-time"}),
                json!({"type": "string", "pattern": r"^\(?(?:a|b)[(?]$", "format": "date-time"}),
            ),
            (
                json!({"type": ["string", "null"], "title": "Name"}),
                json!({"type": "string", "description": "Name May be null."}),
            ),
            (
                json!({"anyOf": [{"type": "integer"}, {"type": "null"}], "default": null}),
                json!({"type": "integer"}),
            ),
            (
                json!({"type": ["string", "integer"], "description": "A key."}),
                json!({"anyOf": [{"type": "string"}, {"type": "integer"}], "description": "A key."}),
            ),
            (json!({"const": "x"}), json!({"type": "string", "enum": ["x"]})),
            (
                json!({"type": "integer", "enum": [1, 2]}),
                json!({"type": "integer", "description": "One of [1,2]."}),
            ),
            (
                json!({"oneOf": [{"const": "x"}, {"const": "y"}, {"type": "null"}], "default": "x"}),
                json!({"type": "string", "enum": ["x", "y"], "default": "x"}),
            ),
            (
                json!({"items": {"type": "string"}, "anyOf": [{"minItems": 1}, {"maxItems": 9}]}),
                json!({"type": "array", "items": {"type": "string"}}),
            ),
            (
                json!({"type": "number", "exclusiveMinimum": 0, "multipleOf": 2}),
                json!({"type": "number", "description": "Greater than 0. A multiple of 2."}),
            ),
            (
                json!({"type": "object", "patternProperties": {"^x": {}}, "additionalProperties": false, "if": {}, "x-more": 1}),
                json!({"type": "object", "properties": {}}),
            ),
        ];
        for (source, expected) in cases {
            assert_eq!(property(&source), expected, "{source}");
        }
    }

    #[test]
    fn at_most_128_tools_are_offered() {
        let others: Vec<_> = (0..130)
            .map(|index| spec(&format!("s__{index}"), json!({"type": "object"})))
            .collect();
        let offered = OfferedTools::new(vec![spec("own", json!({"type": "object"}))]).unwrap();
        for _ in 0..2 {
            let tools = value(offered.json(&others).unwrap());
            let tools = tools.as_array().unwrap();
            assert_eq!(tools.len(), 128);
            assert_eq!(tools[0]["function"]["name"], "own");
            assert_eq!(tools[127]["function"]["name"], "s__126");
        }
        let fewer = value(offered.json(&others[..1]).unwrap());
        assert_eq!(fewer.as_array().unwrap().len(), 2);
        assert!(
            OfferedTools::new(Vec::new())
                .unwrap()
                .json(&[])
                .unwrap()
                .is_none()
        );
    }
}
