//! One page of a server's tool list, tool by tool: a tool that doesn't follow the protocol doesn't hide the others.

use rmcp::model::{ListToolsResult, ServerResult, Tool};
use serde_json::{Map, Value, json};

/// A page.
#[derive(Debug, Default)]
pub(crate) struct ToolPage {
    pub(crate) tools: Vec<Tool>,
    /// The position of the next page, if there is one.
    pub(crate) next_cursor: Option<String>,
    /// Number of entries that are not tools.
    pub(crate) unreadable: usize,
}

impl ToolPage {
    /// `None` if the result is not an object.
    pub(crate) fn new(result: ServerResult) -> Option<Self> {
        let mut page = match result {
            ServerResult::ListToolsResult(ListToolsResult {
                tools, next_cursor, ..
            }) => Self {
                tools,
                next_cursor,
                unreadable: 0,
            },
            // A list that doesn't follow the protocol, or an empty object.
            ServerResult::CustomResult(custom) => Self::from_value(custom.0)?,
            ServerResult::EmptyResult(_) => Self::default(),
            _ => return None,
        };
        page.next_cursor = page.next_cursor.filter(|cursor| !cursor.is_empty());
        Some(page)
    }

    fn from_value(result: Value) -> Option<Self> {
        let Value::Object(mut members) = result else {
            return None;
        };
        let mut page = Self::default();
        if let Some(Value::String(cursor)) = members.remove("nextCursor") {
            page.next_cursor = Some(cursor);
        }
        if let Some(Value::Array(listed)) = members.remove("tools") {
            for tool in listed {
                match self::tool(tool) {
                    Some(tool) => page.tools.push(tool),
                    None => page.unreadable += 1,
                }
            }
        }
        Some(page)
    }
}

/// Reads the members that the client uses. Members with another type are ignored, and a missing schema accepts any object.
fn tool(listed: Value) -> Option<Tool> {
    let Value::Object(mut listed) = listed else {
        return None;
    };
    let name = listed.remove("name").filter(Value::is_string)?;
    let mut read = Map::from_iter([("name".to_owned(), name)]);
    for member in ["title", "description"] {
        if let Some(text @ Value::String(_)) = listed.remove(member) {
            read.insert(member.to_owned(), text);
        }
    }
    let schema = listed.remove("inputSchema").filter(Value::is_object);
    read.insert("inputSchema".to_owned(), schema.unwrap_or_else(|| json!({})));
    if let Some(Value::Object(mut annotations)) = listed.remove("annotations") {
        annotations.retain(|name, value| name.ends_with("Hint") && value.is_boolean());
        read.insert("annotations".to_owned(), Value::Object(annotations));
    }
    serde_json::from_value(Value::Object(read)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(result: Value) -> Option<ToolPage> {
        ToolPage::new(serde_json::from_value(result).unwrap())
    }

    #[test]
    fn odd_tools_do_not_hide_others() {
        let listed = json!({
            "nextCursor": null,
            "tools": [
                {"name": "good", "inputSchema": {"type": "object"}, "unknown": 1},
                {"name": "odd", "title": 1, "description": null, "inputSchema": null, "icons": "x", "outputSchema": [],
                 "annotations": {"readOnlyHint": true, "destructiveHint": null, "title": null}},
                {"name": null, "inputSchema": {}},
                "text",
                {"name": "bare"}
            ]
        });
        let page = page(listed).unwrap();
        let names: Vec<_> = page.tools.iter().map(|tool| tool.name.as_ref()).collect();
        assert_eq!(names, ["good", "odd", "bare"]);
        assert_eq!(page.unreadable, 2);
        let annotations = page.tools[1].annotations.as_ref().unwrap();
        assert_eq!(annotations.read_only_hint, Some(true));
    }

    #[test]
    fn page_without_tools_is_empty() {
        for result in [
            json!({}),
            json!({"tools": null}),
            json!({"tools": [], "nextCursor": ""}),
        ] {
            let page = page(result.clone()).unwrap();
            assert!(page.tools.is_empty() && page.next_cursor.is_none(), "{result}");
        }
        assert!(page(json!("text")).is_none());
    }
}
