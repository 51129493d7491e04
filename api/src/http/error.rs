//! One enum for everything that can go wrong with a request, and the one table from it to a status.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use errand_shared::{Uuid, storage};

use crate::http::problem::{FieldError, Problem};

/// Why a request is not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// 400: not JSON.
    #[error("{0}")]
    BadRequest(String),
    /// 401: no token, or a bad one.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// 403: another user's.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 404: not there, or not the caller's.
    #[error("{0}")]
    NotFound(String),
    /// 405: not with this method.
    #[error("the method is not allowed here")]
    MethodNotAllowed,
    /// 408: the body took too long to arrive.
    #[error("the request's body took too long to arrive")]
    BodyTimeout,
    /// 409: it does not go together with what is there.
    #[error("{0}")]
    Conflict(String),
    /// 409: a run of the conversation is open, and the message was not to wait behind it.
    #[error("A message of this conversation is still being answered")]
    Running {
        /// That run.
        active_run_id: Uuid,
    },
    /// 413: the body is too large.
    #[error("the request's body is larger than {0} bytes")]
    TooLarge(u32),
    /// 415: not a media type that is understood here.
    #[error("the request's body must be application/json")]
    UnsupportedMediaType,
    /// 422: JSON that breaks a rule.
    #[error("the request breaks a rule")]
    Invalid(Vec<FieldError>),
    /// 429: too much at once.
    #[error("{detail}")]
    TooMany {
        /// A sentence for the caller.
        detail: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// 429: too many runs of the caller are open.
    #[error("Too many of your messages are still being answered; wait for some of them.")]
    OpenRuns,
    /// 503: too many runs of all callers are queued.
    #[error("Too many messages wait to be answered; try again later.")]
    QueueFull,
    /// 503: too much for all of us.
    #[error("{0}")]
    Busy(&'static str),
    /// 503: Postgres is away; with the run whose commit has an unknown outcome.
    #[error("the database is away")]
    DatabaseAway {
        /// The run that was or was not stored.
        run_id: Option<Uuid>,
        /// For the log.
        source: Option<sqlx::Error>,
    },
    /// 500: our own fault.
    #[error("internal error")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

/// Tells the log what the caller is not told.
#[derive(Clone, Debug)]
pub(crate) struct Cause(pub(crate) Arc<ApiError>);

impl ApiError {
    /// A request with one member that breaks a rule.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// Our own fault.
    pub(crate) fn internal(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Internal(Box::new(error))
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) | Self::Running { .. } => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany { .. } | Self::OpenRuns => StatusCode::TOO_MANY_REQUESTS,
            Self::QueueFull | Self::Busy(_) | Self::DatabaseAway { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// As its caller sees it.
    pub(crate) fn problem(&self) -> Problem {
        let detail = match self {
            Self::Invalid(errors) => match errors.first() {
                Some(first) if first.field.is_empty() => first.message.clone(),
                Some(first) => format!("{}: {}", first.field, first.message),
                None => self.to_string(),
            },
            Self::DatabaseAway { run_id: Some(_), .. } => {
                "The database is away; whether the message was stored is unknown. Look for the run, or send the same \
                 request with the same Idempotency-Key again."
                    .to_owned()
            }
            Self::DatabaseAway { .. } => "The database is away; try again.".to_owned(),
            Self::Internal(_) => "An internal error; it has been logged.".to_owned(),
            other => other.to_string(),
        };
        let mut problem = Problem::new(self.status(), detail);
        match self {
            Self::Invalid(errors) => problem.errors.clone_from(errors),
            Self::DatabaseAway { run_id, .. } => problem.run_id = *run_id,
            Self::Running { active_run_id } => problem.active_run_id = Some(*active_run_id),
            _ => {}
        }
        problem
    }

    /// Seconds after which to try again.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooMany { retry_after, .. } => Some(retry_after.as_secs().max(1)),
            Self::OpenRuns => Some(1),
            Self::QueueFull | Self::Busy(_) => Some(5),
            Self::DatabaseAway { .. } => Some(2),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        // The token outlived its user by the moment for which users are remembered.
        if storage::violates_user(&error) {
            return Self::Unauthorized("The user no longer exists.");
        }
        if storage::is_outage(&error) {
            Self::DatabaseAway {
                run_id: None,
                source: Some(error),
            }
        } else {
            Self::internal(error)
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.problem().into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if matches!(self, Self::Unauthorized(_)) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Cause(Arc::new(self)));
        response
    }
}
