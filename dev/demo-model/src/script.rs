//! Which behaviour answers which request: queues taken in order, each for the requests it matches.

use std::{collections::VecDeque, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Behaviour, wire::ChatRequest};

/// Behaviours for the requests to come. The first queue that matches and is not used up gives the next
/// one; when none does, the default answers.
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

/// Behaviours in order, for the requests that match.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Queue {
    #[serde(default)]
    when: When,
    behaviours: VecDeque<Behaviour>,
    /// Whether a behaviour goes back to the end of the queue when it was taken.
    #[serde(default)]
    repeat: bool,
}

/// Which requests a queue is for.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Option<String>", into = "Option<String>")]
enum When {
    #[default]
    Always,
    /// The last user message contains this.
    Says(String),
    Holds(Arc<dyn Fn(&ChatRequest) -> bool + Send + Sync>),
}

impl From<Option<String>> for When {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Always, Self::Says)
    }
}

impl From<When> for Option<String> {
    fn from(when: When) -> Self {
        match when {
            When::Says(text) => Some(text),
            When::Always | When::Holds(_) => None,
        }
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("Always"),
            Self::Says(text) => f.debug_tuple("Says").field(text).finish(),
            Self::Holds(_) => f.write_str("Holds(..)"),
        }
    }
}

impl When {
    fn matches(&self, request: &ChatRequest) -> bool {
        match self {
            Self::Always => true,
            Self::Says(text) => request
                .last_user_text()
                .is_some_and(|said| said.contains(text.as_str())),
            Self::Holds(predicate) => predicate(request),
        }
    }
}

impl Script {
    /// A script in which the demo brain answers everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// A script in which every request meets this behaviour.
    pub fn always(behaviour: Behaviour) -> Self {
        Self {
            queues: Vec::new(),
            default: behaviour,
        }
    }

    /// Adds behaviours for the next requests, whatever they say.
    #[must_use]
    pub fn then(self, behaviours: impl IntoIterator<Item = Behaviour>) -> Self {
        self.queue(When::Always, behaviours)
    }

    /// Adds behaviours for requests whose last user message contains `text`.
    #[must_use]
    pub fn when(self, text: impl Into<String>, behaviours: impl IntoIterator<Item = Behaviour>) -> Self {
        self.queue(When::Says(text.into()), behaviours)
    }

    /// Adds behaviours for requests of which `predicate` holds.
    #[must_use]
    pub fn when_fn(
        self,
        predicate: impl Fn(&ChatRequest) -> bool + Send + Sync + 'static,
        behaviours: impl IntoIterator<Item = Behaviour>,
    ) -> Self {
        self.queue(When::Holds(Arc::new(predicate)), behaviours)
    }

    /// Lets the queue added last start over when it is used up.
    #[must_use]
    pub fn repeated(mut self) -> Self {
        if let Some(queue) = self.queues.last_mut() {
            queue.repeat = true;
        }
        self
    }

    /// What answers requests that no queue has a behaviour for.
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

    /// Puts the queues of `more` behind those there are; the default stays.
    pub(crate) fn extend(&mut self, more: Self) {
        self.queues.extend(more.queues);
    }

    /// How many behaviours are still queued.
    pub fn remaining(&self) -> usize {
        self.queues.iter().map(|queue| queue.behaviours.len()).sum()
    }

    /// Takes the behaviour for `request`.
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
