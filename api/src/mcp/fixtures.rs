//! Tools for the official conformance suite, which return every kind of content. Never part of a build without debug assertions.

use std::{sync::Arc, time::Duration};

use rmcp::{
    RoleServer,
    model::{CallToolResult, ContentBlock, JsonObject, ProgressNotificationParam, ResourceContents, Tool},
    service::RequestContext,
};
use serde_json::json;

const NAMES: [&str; 7] = [
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_error_handling",
    "test_tool_with_progress",
];
/// A single red pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// Silence.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";
/// The pause between two progress notifications.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn tools() -> impl Iterator<Item = Tool> {
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), json!("object"));
    let schema = Arc::new(schema);
    NAMES
        .iter()
        .map(move |name| Tool::new(*name, "For the conformance suite.", Arc::clone(&schema)))
}

/// Calls one of the tools; none if it is not one of them.
pub(super) async fn call(name: &str, context: &RequestContext<RoleServer>) -> Option<CallToolResult> {
    let image = || ContentBlock::image(PNG, "image/png");
    let content = match name {
        "test_simple_text" => vec![ContentBlock::text("This is a simple text response for testing.")],
        "test_image_content" => vec![image()],
        "test_audio_content" => vec![ContentBlock::audio(WAV, "audio/wav")],
        "test_embedded_resource" => vec![ContentBlock::embedded_text(
            "test://embedded-resource",
            "This is an embedded resource content.",
        )],
        "test_multiple_content_types" => {
            let resource =
                ResourceContents::text(r#"{"test":"data","value":123}"#, "test://mixed-content-resource");
            vec![
                ContentBlock::text("Multiple content types test:"),
                image(),
                ContentBlock::resource(resource.with_mime_type("application/json")),
            ]
        }
        "test_error_handling" => {
            let text = "This tool intentionally returns an error for testing";
            return Some(CallToolResult::error(vec![ContentBlock::text(text)]));
        }
        "test_tool_with_progress" => {
            progress(context).await;
            vec![ContentBlock::text("Done.")]
        }
        _ => return None,
    };
    Some(CallToolResult::success(content))
}

async fn progress(context: &RequestContext<RoleServer>) {
    let Some(token) = context.meta.get_progress_token() else {
        return;
    };
    for done in [0.0, 50.0, 100.0] {
        let word = ProgressNotificationParam::new(token.clone(), done).with_total(100.0);
        if let Err(error) = context.peer.notify_progress(word).await {
            tracing::debug!(%error, "the progress could not be sent");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
