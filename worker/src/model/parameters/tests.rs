use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    model: ModelSettings,
}

fn accepted(model: &str, url: &str) -> AcceptedParameters {
    let settings = Program::parse_from(["program", "--openai-model", model]).model;
    AcceptedParameters::new(&settings, &url.parse().unwrap())
}

/// Whether `max_completion_tokens`, `temperature` and `stream_options` are sent.
fn sent(accepted: &AcceptedParameters) -> (bool, bool, bool) {
    let Parameters {
        max_completion_tokens,
        temperature,
        stream_options,
        ..
    } = accepted.get();
    (max_completion_tokens, temperature, stream_options)
}

const OPENAI: &str = "https://api.openai.com/v1";

#[test]
fn known_models_and_servers() {
    let known = |model, url| sent(&accepted(model, url));
    for model in ["gpt-4", "gpt-4o", "gpt-4.1-mini", "openai/gpt-4", "o", "llama-o3"] {
        assert_eq!(known(model, OPENAI), (false, true, true), "{model}");
    }
    for model in [
        "o1",
        "o3-mini",
        "o4-mini-2025-04-16",
        "gpt-5",
        "gpt-5.1",
        "openai/gpt-5-mini",
    ] {
        assert_eq!(known(model, OPENAI), (true, false, true), "{model}");
    }
    assert_eq!(
        known("kimi-k2.5", "https://api.moonshot.ai/v1"),
        (false, false, true)
    );
    assert_eq!(
        known("mistral-small", "https://api.mistral.ai/v1"),
        (false, true, false)
    );
    assert_eq!(
        known("x", "https://a.cloud.databricks.com/serving-endpoints"),
        (false, true, false)
    );
    assert_eq!(known("x", "https://notmistral.ai/v1"), (false, true, true));
}

const MAX_TOKENS: &str = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";

#[test]
fn rejected_parameters_are_replaced_or_left_out() {
    let accepted = accepted("new", OPENAI);
    let learn = |message| accepted.learn(&accepted.get(), message);
    assert!(learn(MAX_TOKENS));
    assert_eq!(sent(&accepted), (true, true, true));
    assert!(!learn(MAX_TOKENS), "the recommended parameter is sent already");
    assert_eq!(sent(&accepted), (true, true, true));
    let value = "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported.";
    assert!(learn(value));
    assert!(!learn(value), "it is not sent any more");
    assert!(learn(
        r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}"#
    ));
    assert_eq!(sent(&accepted), (true, false, false));
    assert!(learn("Extra inputs are not permitted: max_completion_tokens"));
    assert_eq!(sent(&accepted), (false, false, false));
    assert!(!learn(MAX_TOKENS), "the alternative has been rejected");
    assert_eq!(
        accepted.changes(),
        [
            "max_tokens",
            "temperature",
            "stream_options",
            "max_completion_tokens"
        ]
    );
}

#[test]
fn recommended_parameter_is_not_the_rejected_one() {
    let reversed = accepted("new", OPENAI);
    assert!(reversed.learn(
        &reversed.get(),
        "Use max_completion_tokens instead of max_tokens, which is not supported."
    ));
    assert_eq!(sent(&reversed), (true, true, true));

    let old_server = accepted("o1", OPENAI);
    assert!(old_server.learn(
        &old_server.get(),
        "Unknown parameter: max_completion_tokens. Did you mean max_tokens?"
    ));
    assert_eq!(sent(&old_server), (false, false, true));
}

#[test]
fn requests_sent_before_it_was_learned_are_sent_again() {
    let accepted = accepted("new", OPENAI);
    let sent_before = accepted.get();
    assert!(accepted.learn(&sent_before, MAX_TOKENS));
    assert!(accepted.learn(&sent_before, MAX_TOKENS));
    assert_eq!(sent(&accepted), (true, true, true));
}

type IsApplied = fn(&Parameters) -> bool;

#[test]
fn demanded_data_and_ids_are_sent() {
    let accepted = accepted("new", OPENAI);
    let demands: [(&str, IsApplied); 8] = [
        (
            "The `reasoning_content` in the thinking mode must be passed back to the API.",
            |parameters| parameters.empty_reasoning,
        ),
        (
            "Function call is missing a thought_signature in functionCall parts.",
            |parameters| parameters.placeholder_signature,
        ),
        (
            "Tool call id was call_abc but must be a-z, A-Z, 0-9, with a length of 9.",
            |parameters| parameters.short_call_ids,
        ),
        (
            "Function tools with reasoning_effort are not supported for this model. Set reasoning_effort to 'none'.",
            |parameters| parameters.no_reasoning_effort,
        ),
        (
            "Invalid value for 'content': expected a string, got null.",
            |parameters| parameters.empty_content,
        ),
        (
            "2 validation errors: messages.2.content: Input should be a valid string",
            |parameters| parameters.empty_content,
        ),
        (
            "Extra inputs are not permitted: messages.2.reasoning_details",
            |parameters| !parameters.provider_data,
        ),
        (
            "property 'messages.2.extra_content' is unsupported",
            |parameters| !parameters.provider_data,
        ),
    ];
    for (error, is_applied) in demands {
        let before = accepted.get();
        assert_eq!(accepted.learn(&before, error), !is_applied(&before), "{error}");
        assert!(is_applied(&accepted.get()), "{error}");
        assert!(
            !accepted.learn(&accepted.get(), error),
            "{error}: it is applied already"
        );
    }
}

#[test]
fn known_hosts_need_data_and_short_ids() {
    let known = |model, url| {
        let known = accepted(model, url).get();
        (
            known.empty_reasoning,
            known.placeholder_signature,
            known.short_call_ids,
        )
    };
    assert_eq!(
        known("deepseek-chat", "https://api.deepseek.com"),
        (true, false, false)
    );
    assert_eq!(
        known("mistral-small", "https://api.mistral.ai/v1"),
        (false, false, true)
    );
    let gemini = "https://generativelanguage.googleapis.com/v1beta/openai/";
    assert_eq!(known("gemini-3-pro", gemini), (false, true, false));
    assert_eq!(known("gemini-2.5-flash", gemini), (false, false, false));
    assert_eq!(known("gemini-3-pro", OPENAI), (false, false, false));
}

#[test]
fn rejected_members_of_the_agents_request_are_left_out() {
    let mut settings = Program::parse_from(["program"]).model;
    let members = serde_json::json!({"reasoning_effort": "low", "reasoning": {"effort": "low"}, "parallel_tool_calls": true});
    settings.request = Arc::new(members.as_object().cloned().unwrap());
    let accepted = AcceptedParameters::new(&settings, &OPENAI.parse().unwrap());
    let learn = |message| accepted.learn(&accepted.get(), message);
    assert!(learn(
        "Unrecognized request argument supplied: parallel_tool_calls"
    ));
    assert!(learn("reasoning_effort: Extra inputs are not permitted"));
    assert!(!learn("reasoning_effort: Extra inputs are not permitted"));
    assert_eq!(
        accepted.get().omitted,
        ["parallel_tool_calls", "reasoning_effort"]
    );
    assert!(
        accepted.get().provider_data,
        "`reasoning` is a part of the name only"
    );
}

#[test]
fn other_errors_change_nothing() {
    let accepted = accepted("new", OPENAI);
    for error in [
        "max_tokens is too large: 5000. This model supports at most 4096 completion tokens.",
        "Unsupported parameter: 'stop'",
        "temperature must be between 0 and 2",
        "",
    ] {
        assert!(!accepted.learn(&accepted.get(), error), "{error}");
    }
    assert_eq!(sent(&accepted), (false, true, true));
}
