//! Scripts: which behaviour answers which request.

use std::{collections::VecDeque, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Behaviour, wire::ChatRequest};

/// Queues of behaviours. The first queue that matches a request and is not empty provides the behaviour; if there is no
/// such queue, the default applies.
///
/// In JSON: `{"queues": [{"when": "milk", "behaviours": [{"reply": "hi"}], "repeat": false}], "default": "demo"}`;
/// a queue without `when` matches every request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    #[serde(default)]
    queues: Vec<Queue>,
    #[serde(default)]
    default: Behaviour,
}

/// Behaviours for the requests that match a condition, in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Queue {
    #[serde(default)]
    when: When,
    behaviours: VecDeque<Behaviour>,
    /// Whether a used behaviour returns to the end of the queue.
    #[serde(default)]
    repeat: bool,
}

/// The condition under which a queue applies to a request.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Option<String>", into = "Option<String>")]
enum When {
    #[default]
    Always,
    /// The last user message contains this text.
    Contains(String),
    Satisfies(Arc<dyn Fn(&ChatRequest) -> bool + Send + Sync>),
}

impl From<Option<String>> for When {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Always, Self::Contains)
    }
}

impl From<When> for Option<String> {
    fn from(when: When) -> Self {
        match when {
            When::Contains(text) => Some(text),
            When::Always | When::Satisfies(_) => None,
        }
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("Always"),
            Self::Contains(text) => f.debug_tuple("Contains").field(text).finish(),
            Self::Satisfies(_) => f.write_str("Satisfies(..)"),
        }
    }
}

impl When {
    fn matches(&self, request: &ChatRequest) -> bool {
        match self {
            Self::Always => true,
            Self::Contains(text) => request
                .last_user_text()
                .is_some_and(|message| message.contains(text.as_str())),
            Self::Satisfies(predicate) => predicate(request),
        }
    }
}

impl Script {
    /// A script in which the server's brain answers every request.
    pub fn new() -> Self {
        Self::default()
    }

    /// A script with one behaviour for every request.
    pub fn always(behaviour: Behaviour) -> Self {
        Self {
            queues: Vec::new(),
            default: behaviour,
        }
    }

    /// Adds a queue for any request.
    #[must_use]
    pub fn then(self, behaviours: impl IntoIterator<Item = Behaviour>) -> Self {
        self.queue(When::Always, behaviours)
    }

    /// Adds a queue for requests whose last user message contains `text`.
    #[must_use]
    pub fn when(self, text: impl Into<String>, behaviours: impl IntoIterator<Item = Behaviour>) -> Self {
        self.queue(When::Contains(text.into()), behaviours)
    }

    /// Adds a queue for requests that satisfy `predicate`.
    #[must_use]
    pub fn when_fn(
        self,
        predicate: impl Fn(&ChatRequest) -> bool + Send + Sync + 'static,
        behaviours: impl IntoIterator<Item = Behaviour>,
    ) -> Self {
        self.queue(When::Satisfies(Arc::new(predicate)), behaviours)
    }

    /// Makes the queue added last start over when it is used up.
    #[must_use]
    pub fn repeated(mut self) -> Self {
        if let Some(queue) = self.queues.last_mut() {
            queue.repeat = true;
        }
        self
    }

    /// Sets the behaviour for requests that no queue answers.
    #[must_use]
    pub fn otherwise(mut self, behaviour: Behaviour) -> Self {
        self.default = behaviour;
        self
    }

    fn queue(mut self, when: When, behaviours: impl IntoIterator<Item = Behaviour>) -> Self {
        self.queues.push(Queue {
            when,
            behaviours: behaviours.into_iter().collect(),
            repeat: false,
        });
        self
    }

    /// Appends the queues of `more`. Keeps the current default.
    pub(crate) fn extend(&mut self, more: Self) {
        self.queues.extend(more.queues);
    }

    /// Number of queued behaviours.
    pub fn remaining(&self) -> usize {
        self.queues.iter().map(|queue| queue.behaviours.len()).sum()
    }

    /// Removes and returns the behaviour for `request`.
    pub(crate) fn next(&mut self, request: &ChatRequest) -> Behaviour {
        for queue in &mut self.queues {
            if queue.behaviours.is_empty() || !queue.when.matches(request) {
                continue;
            }
            if let Some(behaviour) = queue.behaviours.pop_front() {
                if queue.repeat {
                    queue.behaviours.push_back(behaviour.clone());
                }
                return behaviour;
            }
        }
        self.default.clone()
    }
}
