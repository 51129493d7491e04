//! Converts tool specifications and outcomes to MCP.

use std::sync::Arc;

use errand_task_tools::{ToolOutcome, ToolSpec};
use rmcp::model::{CallToolResult, JsonObject, Tool, ToolAnnotations};
use serde_json::Value;

/// All tools, always in the same order.
pub(super) fn all() -> Vec<Tool> {
    errand_task_tools::specs().iter().map(describe).collect()
}

/// Describes a tool to MCP clients.
pub(super) fn describe(spec: &ToolSpec) -> Tool {
    let annotations = ToolAnnotations::with_title(spec.title)
        .read_only(spec.annotations.read_only)
        .destructive(spec.annotations.destructive)
        .idempotent(spec.annotations.idempotent)
        // The tools only access the user's own list.
        .open_world(false);
    Tool::new(spec.name, spec.description, object(&spec.parameters))
        .with_title(spec.title)
        .with_raw_output_schema(object(&spec.output))
        .with_annotations(annotations)
}

/// The result as structured content, and as text for clients that do not support that.
pub(super) fn result(outcome: ToolOutcome) -> CallToolResult {
    if outcome.success {
        CallToolResult::structured(outcome.result)
    } else {
        CallToolResult::structured_error(outcome.result)
    }
}

fn object(schema: &Value) -> Arc<JsonObject> {
    Arc::new(schema.as_object().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_described_by_its_specification() {
        for (tool, spec) in all().into_iter().zip(errand_task_tools::specs()) {
            assert_eq!(tool.name, spec.name);
            assert_eq!(Value::Object((*tool.input_schema).clone()), spec.parameters);
            assert_eq!(
                tool.output_schema.map(|schema| Value::Object((*schema).clone())),
                Some(spec.output.clone())
            );
            let annotations = tool.annotations.unwrap();
            assert_eq!(
                annotations.read_only_hint,
                Some(spec.annotations.read_only),
                "{}",
                spec.name
            );
            assert_eq!(
                annotations.destructive_hint,
                Some(spec.annotations.destructive),
                "{}",
                spec.name
            );
            assert_eq!(
                annotations.idempotent_hint,
                Some(spec.annotations.idempotent),
                "{}",
                spec.name
            );
            assert_eq!(annotations.open_world_hint, Some(false), "{}", spec.name);
        }
    }
}
