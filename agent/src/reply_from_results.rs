//! The reply of a run whose tools took effect, but whose model returned no text.

use serde::Deserialize;

use crate::Message;

/// At most this many results are named, and at most this many characters of each message.
const MAX_RESULTS: usize = 20;
const MAX_MESSAGE_CHARS: usize = 500;

/// What is known about the result of any tool.
#[derive(Deserialize)]
struct ToolResult {
    success: bool,
    #[serde(default)]
    message: String,
}

/// Composes a reply from the messages of the results that report a success, one per line. `None` if no call succeeded.
pub(crate) fn compose(messages: &[Message]) -> Option<String> {
    let results: Vec<ToolResult> = messages
        .iter()
        .filter_map(|message| match message {
            Message::Tool { content, .. } => serde_json::from_str(content).ok(),
            _ => None,
        })
        .filter(|result: &ToolResult| result.success)
        .collect();
    if results.is_empty() {
        return None;
    }
    let mut lines: Vec<String> = results
        .iter()
        .map(|result| result.message.trim())
        .filter(|message| !message.is_empty())
        .take(MAX_RESULTS)
        .map(|message| message.chars().take(MAX_MESSAGE_CHARS).collect())
        .collect();
    let omitted = results.len().saturating_sub(MAX_RESULTS);
    if lines.is_empty() {
        lines.push("The tool calls succeeded. The model returned no text about them.".to_owned());
    } else if omitted > 0 {
        lines.push(format!("(and {omitted} more)"));
    }
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(contents: &[&str]) -> Vec<Message> {
        let result = |content: &&str| Message::Tool {
            tool_call_id: "a".to_owned(),
            content: (*content).to_owned(),
        };
        contents.iter().map(result).collect()
    }

    #[test]
    fn messages_of_successful_calls_are_the_reply() {
        let added = r#"{"success":true,"message":"Added milk."}"#;
        let failed = r#"{"success":false,"error":"TASK_NOT_FOUND","message":"No task 3."}"#;
        let bare = r#"{"success":true,"data":1}"#;
        let cases: [(&[&str], Option<&str>); 6] = [
            (&[added], Some("Added milk.")),
            (&[added, failed, added], Some("Added milk.\nAdded milk.")),
            (&[failed], None),
            (&["[]", "not JSON"], None),
            (
                &[bare],
                Some("The tool calls succeeded. The model returned no text about them."),
            ),
            (&[bare, added], Some("Added milk.")),
        ];
        for (contents, expected) in cases {
            assert_eq!(compose(&results(contents)).as_deref(), expected, "{contents:?}");
        }
    }

    #[test]
    fn reply_is_bounded() {
        let long = format!(r#"{{"success":true,"message":"{}"}}"#, "é".repeat(10_000));
        let reply = compose(&results(&vec![long.as_str(); 30])).unwrap();
        assert_eq!(reply.lines().count(), MAX_RESULTS + 1);
        assert!(reply.ends_with("(and 10 more)"));
        assert!(reply.chars().count() < (MAX_RESULTS + 1) * (MAX_MESSAGE_CHARS + 1));
    }
}
