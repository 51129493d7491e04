//! The JSON of an answer: the chunks of a stream, or a complete answer in the same form. Only the members that are used.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;

use super::lenient::{Arguments, Integer, List, Object, Text, expecting_anything, read_as_missing};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) model: Text<'a>,
    #[serde(borrow)]
    pub(super) choices: List<Choice<'a>>,
    pub(super) usage: Object<TokenUsage>,
    /// Groq reports the usage here too, or only here.
    pub(super) x_groq: Object<GroqExtension>,
    /// Some servers report an error in a stream that started with status 200.
    pub(super) error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GroqExtension {
    pub(super) usage: Object<TokenUsage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice<'a> {
    pub(super) index: Integer,
    #[serde(borrow)]
    pub(super) delta: Object<Delta<'a>>,
    /// The complete message, in an answer that is not streamed. Some servers send it at the end of a stream too.
    #[serde(borrow)]
    pub(super) message: Object<Delta<'a>>,
    #[serde(borrow)]
    pub(super) finish_reason: Text<'a>,
    /// Moonshot reports the usage here.
    pub(super) usage: Object<TokenUsage>,
}

/// A piece of the answer. Reasoning is never shown, but sent back with tool calls: see [`provider_data`](super::provider_data).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Delta<'a> {
    #[serde(borrow)]
    pub(super) content: Content<'a>,
    #[serde(borrow)]
    pub(super) refusal: Text<'a>,
    #[serde(borrow)]
    pub(super) tool_calls: List<CallDelta<'a>>,
    /// The form of a tool call before `tool_calls`.
    #[serde(borrow)]
    pub(super) function_call: Object<FunctionDelta<'a>>,
    #[serde(borrow)]
    pub(super) reasoning_content: Text<'a>,
    #[serde(borrow)]
    pub(super) reasoning: Text<'a>,
    pub(super) reasoning_details: Option<Value>,
    pub(super) thinking_blocks: Option<Value>,
    pub(super) extra_content: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CallDelta<'a> {
    pub(super) index: Integer,
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow)]
    pub(super) function: Object<FunctionDelta<'a>>,
    /// Some servers send the members of `function` here.
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) arguments: Arguments<'a>,
    pub(super) extra_content: Option<Value>,
    pub(super) provider_specific_fields: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FunctionDelta<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) arguments: Arguments<'a>,
    pub(super) provider_specific_fields: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenUsage {
    #[serde(rename = "prompt_tokens")]
    prompt: Integer,
    #[serde(rename = "completion_tokens")]
    completion: Integer,
    #[serde(rename = "input_tokens")]
    input: Integer,
    #[serde(rename = "output_tokens")]
    output: Integer,
}

impl TokenUsage {
    /// The prompt tokens, if they are reported as a positive number.
    pub(super) fn prompt(&self) -> Option<u64> {
        positive([self.prompt, self.input])
    }

    /// The completion tokens, if they are reported as a positive number.
    pub(super) fn completion(&self) -> Option<u64> {
        positive([self.completion, self.output])
    }
}

fn positive(counts: [Integer; 2]) -> Option<u64> {
    let counts = counts
        .into_iter()
        .filter_map(|count| u64::try_from(count.0?).ok());
    counts.filter(|count| *count > 0).max()
}

/// The text of a message: a string, a list of parts, or one part.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content<'a> {
    pub(super) text: Cow<'a, str>,
    /// The text of refusal parts.
    pub(super) refusal: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow)]
    text: Content<'a>,
    #[serde(borrow)]
    value: Text<'a>,
    #[serde(borrow)]
    refusal: Text<'a>,
}

impl<'a> Content<'a> {
    fn from_text(text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            text: text.into(),
            refusal: Cow::Borrowed(""),
        }
    }

    fn from_part(part: Part<'a>) -> Self {
        let kind = part.r#type.0.unwrap_or_default();
        // Reasoning in parts of its own: `thinking`, `reasoning`, `reasoning_text` and so on.
        if kind.contains("thinking") || kind.contains("reasoning") {
            return Self::default();
        }
        let mut content = part.text;
        content.append(Self::from_text(part.value.0.unwrap_or_default()));
        content.append(Self {
            text: Cow::Borrowed(""),
            refusal: part.refusal.0.unwrap_or_default(),
        });
        content
    }

    fn append(&mut self, other: Self) {
        append(&mut self.text, other.text);
        append(&mut self.refusal, other.refusal);
    }
}

fn append<'a>(text: &mut Cow<'a, str>, other: Cow<'a, str>) {
    if text.is_empty() {
        *text = other;
    } else if !other.is_empty() {
        text.to_mut().push_str(&other);
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content<'de>;

            expecting_anything!();
            read_as_missing!(unit bool);

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Content::from_text(text))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Content::from_text(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Content::from_text(number.to_string()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Content::from_text(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Content::from_text(number.to_string()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
                let mut content = Content::default();
                while let Some(part) = parts.next_element::<Content<'de>>()? {
                    content.append(part);
                }
                Ok(content)
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                Part::deserialize(MapAccessDeserializer::new(members)).map(Content::from_part)
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_the_text_of_its_parts_without_reasoning() {
        for (json, text, refusal) in [
            (r#""a""#, "a", ""),
            ("null", "", ""),
            ("true", "", ""),
            ("4", "4", ""),
            (
                r#"["a",null,{"type":"text","text":"b"},{"text":{"value":"c"}},5]"#,
                "abc5",
                "",
            ),
            (r#"{"type":"output_text","text":"a"}"#, "a", ""),
            (
                r#"[{"type":"thinking","thinking":[{"type":"text","text":"t"}]},{"type":"text","text":"a"}]"#,
                "a",
                "",
            ),
            (
                r#"[{"type":"reasoning","text":"t"},{"type":"refusal","refusal":"no"}]"#,
                "",
                "no",
            ),
            (r#"[{"type":"reference","reference_ids":[1]}]"#, "", ""),
        ] {
            let content: Content<'_> = serde_json::from_str(json).unwrap();
            assert_eq!((&*content.text, &*content.refusal), (text, refusal), "{json}");
        }
    }

    #[test]
    fn counts_are_positive_numbers_under_either_name() {
        for (json, prompt, completion) in [
            (r#"{"prompt_tokens":1,"completion_tokens":2}"#, Some(1), Some(2)),
            (r#"{"input_tokens":"1","output_tokens":2.7}"#, Some(1), Some(2)),
            (r#"{"prompt_tokens":null,"completion_tokens":-2}"#, None, None),
            (r#"{"prompt_tokens":{},"completion_tokens":0}"#, None, None),
        ] {
            let usage: TokenUsage = serde_json::from_str(json).unwrap();
            assert_eq!(
                (usage.prompt(), usage.completion()),
                (prompt, completion),
                "{json}"
            );
        }
    }

    #[test]
    fn members_of_any_type_are_accepted() {
        for value in ["null", "0", "true", "\"x\"", "[]", "[null]", "{}", "{\"a\":[1]}"] {
            for json in [
                format!(r#"{{"model":{value},"choices":{value},"usage":{value},"x_groq":{value}}}"#),
                format!(
                    r#"{{"choices":[{{"index":{value},"delta":{value},"message":{value},"finish_reason":{value}}}]}}"#
                ),
                format!(
                    r#"{{"choices":[{{"delta":{{"content":{value},"refusal":{value},"tool_calls":{value}}}}}]}}"#
                ),
                format!(
                    r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{value},"id":{value},"function":{value}}}]}}}}]}}"#
                ),
                format!(
                    r#"{{"choices":[{{"delta":{{"tool_calls":[{{"function":{{"name":{value},"arguments":{value}}}}}]}}}}]}}"#
                ),
            ] {
                serde_json::from_str::<Chunk<'_>>(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
            }
        }
    }
}
