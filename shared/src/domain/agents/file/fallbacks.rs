//! The member `fallbacks` of an agent: the models that answer while the agent's model does not.

use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use super::{super::FallbackModel, Fault, Reference, Secrets, WORD_CHARS, request, secret, text, url};

/// At most this many fallbacks of an agent. A run tries each of them within its deadline.
const MAX_FALLBACKS: usize = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    model: Spanned<String>,
    base_url: Option<Spanned<String>>,
    api_key: Option<Spanned<Reference>>,
    request: Option<Spanned<Map<String, Value>>>,
    reasoning_effort: Option<Spanned<String>>,
}

pub(super) fn check_all(written: Vec<Written>, secrets: Secrets) -> Result<Vec<FallbackModel>, Fault> {
    if let Some(excess) = written.get(MAX_FALLBACKS) {
        return Err(Fault::at(
            &excess.model,
            format!("fallbacks: at most {MAX_FALLBACKS} are allowed"),
        ));
    }
    written
        .into_iter()
        .map(|written| check(written, secrets))
        .collect()
}

fn check(written: Written, secrets: Secrets) -> Result<FallbackModel, Fault> {
    let Written {
        model,
        base_url,
        api_key,
        request,
        reasoning_effort,
    } = written;
    let has_request = request.is_some() || reasoning_effort.is_some();
    let request = request::check(request, reasoning_effort)?;
    Ok(FallbackModel {
        model: text("model", Some(model), WORD_CHARS)?.unwrap_or_default(),
        base_url: url("base_url", base_url)?,
        api_key: secret("api_key", api_key, secrets)?,
        request: has_request.then_some(request),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Secrets, read, tests::fault};

    #[test]
    fn fallbacks_are_read_in_order() {
        let text = r#"
            [agents.a]
            fallbacks = [{ model = "second" }, { model = "third", base_url = "http://127.0.0.1:1/v1", reasoning_effort = "low" }]
        "#;
        let agents = read(text, &[], Secrets::Read).unwrap();
        let (_, agent) = agents.all().find(|(name, _)| *name == "a").unwrap();
        let [second, third] = agent.fallbacks.as_slice() else {
            panic!("{:?}", agent.fallbacks)
        };
        assert_eq!(
            (second.model.as_str(), &second.base_url, &second.request),
            ("second", &None, &None)
        );
        assert_eq!(third.base_url.as_deref(), Some("http://127.0.0.1:1/v1"));
        assert_eq!(third.request.as_ref().unwrap()["reasoning_effort"], "low");
    }

    #[test]
    fn invalid_fallbacks_are_refused() {
        let many = format!("[agents.a]\nfallbacks = [{}]", "{ model = \"m\" },".repeat(5));
        for (text, expected) in [
            (
                "[agents.a]\nfallbacks = [{ base_url = \"http://x\" }]",
                "missing field `model`",
            ),
            ("[agents.a]\nfallbacks = [{ model = \" \" }]", "model: must have"),
            (
                "[agents.a]\nfallbacks = [{ model = \"m\", base_url = \"x\" }]",
                "http or https URL",
            ),
            (
                "[agents.a]\nfallbacks = [{ model = \"m\", tools = [] }]",
                "unknown field `tools`",
            ),
            (&many, "at most 4 are allowed"),
        ] {
            let fault = fault(text);
            assert!(fault.contains(expected), "{text}: {fault}");
        }
    }
}
