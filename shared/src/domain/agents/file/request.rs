//! The member `request` of an agent: a table that is merged into the body of each model request.

use std::sync::Arc;

use serde_json::{Map, Value};
use toml::Spanned;

use super::Fault;

/// Members that the worker must control, because it depends on them.
const RESERVED: [&str; 6] = ["model", "messages", "stream", "tools", "functions", "n"];
/// At most this many bytes of JSON.
const MAX_BYTES: usize = 16 * 1024;
/// The length of `reasoning_effort`.
const MAX_EFFORT_CHARS: usize = 32;

/// Checks the table and adds `reasoning_effort` to it.
pub(super) fn check(
    request: Option<Spanned<Map<String, Value>>>,
    reasoning_effort: Option<Spanned<String>>,
) -> Result<Arc<Map<String, Value>>, Fault> {
    let mut members = match request {
        Some(request) => {
            check_members(&request)?;
            request.into_inner()
        }
        None => Map::new(),
    };
    if let Some(effort) = reasoning_effort {
        let text = effort.get_ref();
        if text.is_empty()
            || text.len() > MAX_EFFORT_CHARS
            || !text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            let what = format!("reasoning_effort: must have 1 to {MAX_EFFORT_CHARS} letters and digits");
            return Err(Fault::at(&effort, what));
        }
        if members.contains_key("reasoning_effort") {
            let what = "reasoning_effort: also in request; write it once";
            return Err(Fault::at(&effort, what));
        }
        members.insert("reasoning_effort".to_owned(), effort.into_inner().into());
    }
    Ok(Arc::new(members))
}

fn check_members(request: &Spanned<Map<String, Value>>) -> Result<(), Fault> {
    let members = request.get_ref();
    if let Some(name) = RESERVED.iter().find(|name| members.contains_key(**name)) {
        return Err(Fault::at(request, format!("request: must not contain {name}")));
    }
    let json = serde_json::to_string(members).unwrap_or_default();
    if json.len() > MAX_BYTES {
        let what = format!("request: must have at most {MAX_BYTES} bytes as JSON");
        return Err(Fault::at(request, what));
    }
    // The TOML reader passes a date as a table with a private name.
    if json.contains("$__toml_private") {
        return Err(Fault::at(request, "request: JSON has no dates; write a string"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Secrets, read, tests::fault};

    #[test]
    fn members_are_read_as_json() {
        let text = r#"
            [agents.thinker]
            reasoning_effort = "low"
            [agents.thinker.request]
            top_p = 0.5
            tool_choice = "auto"
            chat_template_kwargs = { enable_thinking = false, stop = ["a", "b"] }
        "#;
        let agents = read(text, &["add_task"], Secrets::Read).unwrap();
        let (_, agent) = agents.all().find(|(name, _)| *name == "thinker").unwrap();
        let expected = json!({
            "top_p": 0.5,
            "tool_choice": "auto",
            "chat_template_kwargs": {"enable_thinking": false, "stop": ["a", "b"]},
            "reasoning_effort": "low",
        });
        assert_eq!(serde_json::to_value(&*agent.request).unwrap(), expected);
    }

    #[test]
    fn invalid_members_are_refused() {
        for (text, expected) in [
            ("[agents.a.request]\nstream = false", "must not contain stream"),
            ("[agents.a.request]\nn = 2", "must not contain n"),
            ("[agents.a.request]\nuntil = 2026-01-31", "JSON has no dates"),
            ("[agents.a]\nreasoning_effort = \"a b\"", "letters and digits"),
            ("[agents.a]\nreasoning_effort = \"\"", "letters and digits"),
            (
                "[agents.a]\nreasoning_effort = \"low\"\nrequest = { reasoning_effort = \"high\" }",
                "write it once",
            ),
        ] {
            let fault = fault(text);
            assert!(fault.contains(expected), "{text}: {fault}");
        }
        let long = format!("[agents.a.request]\nuser = \"{}\"", "x".repeat(20_000));
        assert!(fault(&long).contains("at most 16384 bytes"));
    }
}
