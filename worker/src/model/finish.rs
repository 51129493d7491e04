//! What the `finish_reason` of an answer means, in the words of each provider.

use errand_agent::FinishReason;

use super::ErrorKind;

/// The meaning of a finish reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// The answer is complete.
    Complete(FinishReason),
    /// The provider failed in the middle of the answer.
    Failed(ErrorKind),
}

impl Finish {
    /// The meaning of `reason`. Unknown reasons end an answer like `stop`. `None` if there is no reason: some servers send an empty
    /// text, or `null` as a text, with every chunk.
    pub(super) fn of(reason: &str) -> Option<Self> {
        let name = reason.trim().to_ascii_lowercase();
        Some(match name.as_str() {
            "" | "null" | "none" => return None,
            // `eos` Together, `eos_token` TGI, `end_turn` and `stop_sequence` Anthropic, `complete` Cohere.
            "stop" | "eos" | "eos_token" | "end_turn" | "stop_sequence" | "complete" => {
                Self::Complete(FinishReason::Stop)
            }
            // `max_tokens` Anthropic and Gemini, `model_length` Mistral, `model_context_window_exceeded` Z.ai.
            "length" | "max_tokens" | "model_length" | "model_context_window_exceeded" => {
                Self::Complete(FinishReason::Length)
            }
            "tool_calls" | "function_call" | "tool_use" | "tool_call" => {
                Self::Complete(FinishReason::ToolCalls)
            }
            // Gemini's words, and `sensitive` of Z.ai.
            "content_filter" | "safety" | "recitation" | "prohibited_content" | "blocklist" | "spii"
            | "sensitive" => Self::Complete(FinishReason::ContentFilter),
            // `error` OpenRouter and Mistral, `abort` vLLM, `insufficient_system_resource` DeepSeek, `network_error` Z.ai.
            "error" | "abort" | "insufficient_system_resource" | "network_error" => {
                Self::Failed(ErrorKind::ServerError)
            }
            "malformed_function_call" => Self::Failed(ErrorKind::UnreadableToolCall),
            _ => Self::Complete(FinishReason::Other(reason.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finish_reasons_of_all_providers() {
        for (reason, expected) in [
            ("stop", Some(Finish::Complete(FinishReason::Stop))),
            ("STOP", Some(Finish::Complete(FinishReason::Stop))),
            ("MAX_TOKENS", Some(Finish::Complete(FinishReason::Length))),
            ("tool_use", Some(Finish::Complete(FinishReason::ToolCalls))),
            ("SAFETY", Some(Finish::Complete(FinishReason::ContentFilter))),
            ("error", Some(Finish::Failed(ErrorKind::ServerError))),
            (
                "MALFORMED_FUNCTION_CALL",
                Some(Finish::Failed(ErrorKind::UnreadableToolCall)),
            ),
            (
                "Bored",
                Some(Finish::Complete(FinishReason::Other("Bored".to_owned()))),
            ),
            ("", None),
            (" null ", None),
        ] {
            assert_eq!(Finish::of(reason), expected, "{reason:?}");
        }
    }
}
