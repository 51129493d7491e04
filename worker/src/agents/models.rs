//! The models of an agent: the one that it prefers, and its fallbacks.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use errand_agent::AgentRun;
use tokio::time::Instant;

use super::context_window::ContextWindow;
use crate::model::{ErrorKind, ModelClient, ModelError};

/// How long a model that failed is not tried first by other runs.
const COOL_DOWN: Duration = Duration::from_secs(30);

/// A model with what is known about it.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) client: ModelClient,
    context_window: ContextWindow,
    /// Until when the model counts as unavailable.
    unavailable_until: Mutex<Option<Instant>>,
}

/// The models of an agent, in the order of preference.
#[derive(Debug)]
pub(crate) struct Models(Vec<Model>);

impl Model {
    fn new(client: ModelClient) -> Self {
        Self {
            client,
            context_window: ContextWindow::default(),
            unavailable_until: Mutex::new(None),
        }
    }

    /// Shortens a transcript of a size that the model has rejected before.
    pub(crate) fn fit(&self, run: &mut AgentRun) {
        while self.context_window.is_exceeded_by(run) && run.shorten() {}
    }

    fn is_available(&self) -> bool {
        let until = *self
            .unavailable_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.is_none_or(|until| until <= Instant::now())
    }
}

impl Models {
    pub(crate) fn new(clients: Vec<ModelClient>) -> Self {
        Self(clients.into_iter().map(Model::new).collect())
    }

    /// The position of the model for the first step of an attempt: the first one that is available, or else the preferred one.
    pub(crate) fn first(&self) -> usize {
        self.0.iter().position(Model::is_available).unwrap_or(0)
    }

    pub(crate) fn get(&self, position: usize) -> Option<&Model> {
        self.0.get(position)
    }

    /// Handles a failed call of the model at `position`: shortens a transcript that is too long, or changes the model. Returns the
    /// position of the model to call now.
    ///
    /// # Errors
    /// `error`, if neither may help.
    pub(crate) fn recover(
        &self,
        position: usize,
        run: &mut AgentRun,
        error: ModelError,
    ) -> Result<usize, ModelError> {
        if !error.is_context_overflow()
            && let Some(next) = self.after(position, &error)
        {
            return Ok(next);
        }
        if error.may_be_context_overflow()
            && let Some(model) = self.get(position)
        {
            let tokens = run.estimated_tokens();
            if run.shorten() {
                model.context_window.exceeded(tokens, &error);
                return Ok(position);
            }
        }
        Err(error)
    }

    /// The position of the model that answers in place of the one at `position`, which failed with `error`. `None` if the error is no
    /// reason to change the model, or if there are no more.
    fn after(&self, position: usize, error: &ModelError) -> Option<usize> {
        if !error.is_transient() && error.kind() != ErrorKind::Quota {
            return None;
        }
        let (failed, next) = (self.get(position)?, self.get(position + 1)?);
        let mut until = failed
            .unavailable_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *until = Some(Instant::now() + COOL_DOWN);
        tracing::warn!(
            %error,
            model = failed.client.model(),
            fallback = next.client.model(),
            "the model does not answer; the run continues with its fallback"
        );
        Some(position + 1)
    }
}
