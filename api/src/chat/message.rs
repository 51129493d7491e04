//! A new message: its validation, and the fingerprint that its idempotency key is stored with.

use errand_shared::{
    Uuid,
    domain::{
        agents::Agents,
        limits::{IDEMPOTENCY_KEY_MAX_CHARS, MESSAGE_MAX_CHARS},
    },
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::http::{error::ApiError, request_id::RequestId};

/// A valid new message.
#[derive(Clone, Debug)]
pub(crate) struct NewMessage {
    pub(super) user_id: Uuid,
    pub(super) text: String,
    pub(super) conversation_id: Option<Uuid>,
    pub(super) agent: Option<String>,
    pub(super) if_running: IfRunning,
    pub(super) key: Option<(String, [u8; 32])>,
    pub(super) request_id: Option<String>,
}

/// What happens to a message while an earlier run of its conversation is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IfRunning {
    /// The message waits until the earlier run has finished.
    #[default]
    Queue,
    /// The message is rejected and not stored.
    Reject,
}

impl NewMessage {
    /// Validates a message and its idempotency key.
    ///
    /// # Errors
    /// [`ApiError::Invalid`].
    pub(crate) fn new(
        user_id: Uuid,
        text: String,
        conversation_id: Option<Uuid>,
        if_running: IfRunning,
        key: Option<&str>,
    ) -> Result<Self, ApiError> {
        let characters = text.chars().count();
        if text.trim().is_empty() {
            return Err(ApiError::invalid("message", "must not be blank"));
        }
        if characters > MESSAGE_MAX_CHARS {
            let rule = format!("must have at most {MESSAGE_MAX_CHARS} characters, not {characters}");
            return Err(ApiError::invalid("message", rule));
        }
        if text.contains('\0') {
            return Err(ApiError::invalid("message", "must not contain U+0000"));
        }
        if key.is_some_and(|key| !is_key(key)) {
            let rule = format!("must be 1 to {IDEMPOTENCY_KEY_MAX_CHARS} printable ASCII characters");
            return Err(ApiError::invalid("Idempotency-Key", rule));
        }
        let key = key.map(|key| (key.to_owned(), fingerprint(&text, conversation_id, if_running)));
        Ok(Self {
            user_id,
            text,
            conversation_id,
            agent: None,
            if_running,
            key,
            request_id: None,
        })
    }

    /// Records the request that sent the message.
    pub(crate) fn with_request_id(mut self, request: &RequestId) -> Self {
        self.request_id = Some(request.as_str().to_owned());
        self
    }

    /// Chooses the agent of a new conversation.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if there is no such agent or the conversation exists already.
    pub(crate) fn with_agent(mut self, agent: Option<String>, agents: &Agents) -> Result<Self, ApiError> {
        let Some(agent) = agent else { return Ok(self) };
        if self.conversation_id.is_some() {
            let rule = "can only be set by the first message of a conversation";
            return Err(ApiError::invalid("agent", rule));
        }
        if !agents.has(&agent) {
            return Err(ApiError::invalid("agent", "is not the name of an agent"));
        }
        if let Some((_, fingerprint)) = &mut self.key {
            let combined = Sha256::new()
                .chain_update(*fingerprint)
                .chain_update(agent.as_bytes());
            *fingerprint = combined.finalize().into();
        }
        self.agent = Some(agent);
        Ok(self)
    }
}

fn is_key(key: &str) -> bool {
    (1..=IDEMPOTENCY_KEY_MAX_CHARS).contains(&key.len())
        && key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// SHA-256 over the conversation id (16 zero bytes for a new conversation) and the text. With `if_running: reject` they are
/// separated by a zero byte, which no text contains.
fn fingerprint(text: &str, conversation_id: Option<Uuid>, if_running: IfRunning) -> [u8; 32] {
    let separator: &[u8] = match if_running {
        IfRunning::Queue => b"",
        IfRunning::Reject => b"\0",
    };
    Sha256::new()
        .chain_update(conversation_id.unwrap_or(Uuid::nil()).as_bytes())
        .chain_update(separator)
        .chain_update(text.as_bytes())
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str, key: Option<&str>) -> Option<String> {
        match NewMessage::new(Uuid::nil(), text.to_owned(), None, IfRunning::Queue, key) {
            Ok(_) => None,
            Err(ApiError::Invalid(errors)) => Some(errors[0].field.clone()),
            Err(other) => Some(other.to_string()),
        }
    }

    #[test]
    fn a_message_has_1_to_2000_characters_and_is_not_blank() {
        let message = Some("message".to_owned());
        assert_eq!(refusal("hi", None), None);
        assert_eq!(refusal(&"🦀".repeat(2000), None), None);
        assert_eq!(refusal(&"🦀".repeat(2001), None), message);
        assert_eq!(refusal("", None), message);
        assert_eq!(refusal(" \n\u{3000}", None), message);
        assert_eq!(refusal("a\0b", None), message);
    }

    #[test]
    fn a_key_has_1_to_255_printable_characters() {
        let key = Some("Idempotency-Key".to_owned());
        assert_eq!(refusal("hi", Some("a b")), None);
        assert_eq!(refusal("hi", Some(&"k".repeat(255))), None);
        assert_eq!(refusal("hi", Some(&"k".repeat(256))), key);
        assert_eq!(refusal("hi", Some("")), key);
        assert_eq!(refusal("hi", Some("a\tb")), key);
    }

    #[test]
    fn only_the_first_message_of_a_conversation_may_choose_an_agent() {
        let agents = Agents::default();
        let message = |conversation_id, agent: Option<&str>| {
            NewMessage::new(
                Uuid::nil(),
                "hi".to_owned(),
                conversation_id,
                IfRunning::Queue,
                Some("k"),
            )
            .and_then(|message| message.with_agent(agent.map(str::to_owned), &agents))
        };
        let todo = message(None, Some("todo")).unwrap();
        let default = message(None, None).unwrap();
        assert_eq!(todo.agent.as_deref(), Some("todo"));
        assert_eq!(default.agent, None);
        assert_ne!(todo.key, default.key);
        assert!(message(Some(Uuid::nil()), None).is_ok());
        for (conversation_id, agent) in [(Some(Uuid::nil()), "todo"), (None, "unknown"), (None, "")] {
            let refused = message(conversation_id, Some(agent));
            assert!(
                matches!(refused, Err(ApiError::Invalid(errors)) if errors[0].field == "agent"),
                "{agent}"
            );
        }
    }

    #[test]
    fn fingerprint_depends_on_every_field() {
        let id = Uuid::now_v7();
        let plain = |text, id| fingerprint(text, id, IfRunning::Queue);
        assert_eq!(plain("a", None), plain("a", None));
        assert_ne!(plain("a", None), plain("b", None));
        assert_ne!(plain("a", None), plain("a", Some(id)));
        assert_ne!(plain("a", None), fingerprint("a", None, IfRunning::Reject));
    }
}
