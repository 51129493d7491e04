//! Maps every error of a request to an HTTP status and a problem document (RFC 9457), in one table.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use errand_shared::{Uuid, storage};
use errand_task_tools::rules::Violation;
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of a problem.
pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// 400: the request is malformed.
    #[error("{0}")]
    BadRequest(String),
    /// 401: the token is missing or invalid.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// 403: the caller has no access.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 404: the resource does not exist or belongs to another user.
    #[error("{0}")]
    NotFound(String),
    /// 405
    #[error("This path does not support the request's method")]
    MethodNotAllowed,
    /// 408: the body took too long to arrive.
    #[error("The request body took too long to arrive")]
    BodyTimeout,
    /// 409: the request conflicts with the current state.
    #[error("{0}")]
    Conflict(String),
    /// 409: another run of the conversation is open, and the message has `if_running: reject`.
    #[error("Another message of this conversation is still being answered")]
    Running {
        /// The open run.
        active_run_id: Uuid,
    },
    /// 413: the body has more than this many bytes.
    #[error("The request body is larger than {0} bytes")]
    TooLarge(u32),
    /// 415
    #[error("The request body must be application/json")]
    UnsupportedMediaType,
    /// 422: the request breaks validation rules.
    #[error("The request is invalid")]
    Invalid(Vec<FieldError>),
    /// 429: the caller sent too many requests.
    #[error("{detail}")]
    TooMany {
        /// The description for the caller.
        detail: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// 429: the caller has too many open runs.
    #[error("Too many of your messages are still being answered; wait until some are finished.")]
    OpenRuns,
    /// 503: the queue is full.
    #[error("Too many messages are queued; try again later.")]
    QueueFull,
    /// 503: the server is overloaded.
    #[error("{0}")]
    Busy(&'static str),
    /// 503: Postgres is unavailable.
    #[error("the database is unavailable")]
    DatabaseUnavailable {
        /// The run whose commit has an unknown outcome.
        run_id: Option<Uuid>,
        /// The cause, for the log.
        source: Option<sqlx::Error>,
    },
    /// 500: a bug or an unexpected error.
    #[error("internal error")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

/// An error attached to its response, so that the log can name a cause that the caller must not see.
#[derive(Clone, Debug)]
pub(crate) struct Cause(pub(crate) Arc<ApiError>);

impl ApiError {
    /// A 422 for one field.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// A 500.
    pub(crate) fn internal(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Internal(Box::new(error))
    }

    /// A 404 for a conversation.
    pub(crate) fn conversation_not_found(id: Uuid) -> Self {
        Self::NotFound(format!("Conversation {id} not found"))
    }

    /// A 404 for a run.
    pub(crate) fn run_not_found(id: Uuid) -> Self {
        Self::NotFound(format!("Run {id} not found"))
    }

    /// A 404 for a run that was deleted with its conversation.
    pub(crate) fn conversation_deleted() -> Self {
        Self::NotFound("The conversation of this message was deleted".to_owned())
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
            Self::QueueFull | Self::Busy(_) | Self::DatabaseUnavailable { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The problem that the caller sees.
    pub(crate) fn problem(&self) -> Problem {
        let detail = match self {
            Self::Invalid(errors) => match errors.first() {
                Some(first) if first.field.is_empty() => first.message.clone(),
                Some(first) => format!("{}: {}", first.field, first.message),
                None => self.to_string(),
            },
            Self::DatabaseUnavailable { run_id: Some(_), .. } => {
                "The database is unavailable, and whether the message was stored is unknown. Read the run, or send the \
                 same request with the same Idempotency-Key again."
                    .to_owned()
            }
            Self::DatabaseUnavailable { .. } => "The database is unavailable; try again.".to_owned(),
            Self::Internal(_) => "An internal error occurred and was logged.".to_owned(),
            other => other.to_string(),
        };
        let mut problem = Problem::new(self.status(), detail);
        match self {
            Self::Invalid(errors) => problem.errors.clone_from(errors),
            Self::DatabaseUnavailable { run_id, .. } => problem.run_id = *run_id,
            Self::Running { active_run_id } => problem.active_run_id = Some(*active_run_id),
            _ => {}
        }
        problem
    }

    /// The `Retry-After` of the response, in seconds.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooMany { retry_after, .. } => Some(retry_after.as_secs().max(1)),
            Self::OpenRuns => Some(1),
            Self::QueueFull | Self::Busy(_) => Some(5),
            Self::DatabaseUnavailable { .. } => Some(2),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        // The user was deleted while the cache of users still had them.
        if storage::violates_user(&error) {
            return Self::Unauthorized("The user no longer exists.");
        }
        if storage::is_outage(&error) {
            Self::DatabaseUnavailable {
                run_id: None,
                source: Some(error),
            }
        } else {
            Self::internal(error)
        }
    }
}

impl From<Violation> for ApiError {
    fn from(violation: Violation) -> Self {
        Self::invalid(violation.field, violation.message)
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
        if matches!(self, Self::TooLarge(_)) {
            // The rest of the body is not read, so the connection cannot be used again. Without this header a client may send its
            // next request into the closing connection.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(Cause(Arc::new(self)));
        response
    }
}

/// An error (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The name of the HTTP status.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// A description of what went wrong.
    pub(crate) detail: String,
    /// The invalid fields. Only present with status 422.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<FieldError>,
    /// The run whose outcome is unknown. Only present with status 503, if the connection to the database broke while the
    /// message was being stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<Uuid>,
    /// The open run of the conversation. Only present with status 409, for a message with `if_running: reject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) active_run_id: Option<Uuid>,
    /// The number of seconds after which to try again. Only present on a WebSocket, which has no `Retry-After` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after: Option<u64>,
}

/// An invalid field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// The name of the field, parameter or header, or the path of a nested field.
    pub(crate) field: String,
    /// The rule that the value breaks.
    pub(crate) message: String,
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            run_id: None,
            active_run_id: None,
            retry_after: None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (
            status,
            [(header::CONTENT_TYPE, PROBLEM_JSON)],
            axum::Json(self).into_response().into_body(),
        )
            .into_response()
    }
}
