//! The development tools' HTTP client of Errand: the API's paths and bodies, and nothing of what answers mean.
//!
//! Methods return a [`Request`], so that a caller adds its headers and time limit, or an [`Answer`] of any status.

pub mod canned;
mod events;
mod http;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

pub use hyper::StatusCode;

pub use events::Event;
pub use http::{Answer, Connection, EventStream, Request, RequestError};

/// How long a readiness check may take.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// A server on 127.0.0.1. Every request has a connection of its own; for keep-alive, see [`Connection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    address: SocketAddr,
}

impl Client {
    /// The server on this port.
    pub fn new(port: u16) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        }
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, request: Request) -> Result<Answer, RequestError> {
        Connection::open(self.address).await?.send(request).await
    }

    /// Sends a request whose answer is a stream of events.
    pub async fn open_stream(&self, request: Request) -> Result<EventStream, RequestError> {
        Connection::open(self.address).await?.open_stream(request).await
    }

    /// Whether `GET /readyz` answers 200.
    pub async fn is_ready(&self) -> bool {
        let answer = self.send(Request::get("/readyz").timeout(READY_TIMEOUT)).await;
        answer.is_ok_and(|answer| answer.status == StatusCode::OK)
    }
}

/// Registers a user; 201 has the account, 409 says that the e-mail address is taken.
pub fn register(email: &str, password: &str, name: &str) -> Request {
    Request::post("/auth/register").json(&json!({ "email": email, "password": password, "name": name }))
}

/// Logs a user in; 200 has the account.
pub fn login(email: &str, password: &str) -> Request {
    Request::post("/auth/login").json(&json!({ "email": email, "password": password }))
}

/// A logged-in user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's id.
    pub id: String,
    /// The access token.
    pub token: String,
    /// How long the token is valid after login.
    pub expires_in: Duration,
}

impl Account {
    /// Reads the body of a successful registration or login.
    pub fn from_answer(answer: &Answer) -> Option<Self> {
        let body = answer.json();
        let seconds = body.get("expires_in").and_then(Value::as_u64);
        Some(Self {
            id: body.pointer("/user/id")?.as_str()?.to_owned(),
            token: body.get("access_token")?.as_str()?.to_owned(),
            expires_in: Duration::from_secs(seconds.unwrap_or_default()),
        })
    }

    /// `POST /chat` with this body.
    pub fn chat(&self, body: &Value) -> Request {
        self.authorized(Request::post(self.path("/chat"))).json(body)
    }

    /// Reads a run. The server waits up to `wait_seconds` for its end.
    pub fn get_run(&self, run: &str, wait_seconds: u64) -> Request {
        self.authorized(Request::get(
            self.path(&format!("/runs/{run}?wait={wait_seconds}")),
        ))
    }

    /// Reads the run of another user, which the API must refuse.
    pub fn get_run_of(&self, owner: &str, run: &str) -> Request {
        self.authorized(Request::get(format!("/api/{owner}/runs/{run}")))
    }

    /// The run's events after the one with this number.
    pub fn events(&self, run: &str, last_event: Option<i64>) -> Request {
        let request = self.authorized(Request::get(self.path(&format!("/runs/{run}/events"))));
        match last_event {
            Some(last) => request.header("last-event-id", last),
            None => request,
        }
    }

    /// Cancels a run.
    pub fn cancel(&self, run: &str) -> Request {
        self.authorized(Request::post(self.path(&format!("/runs/{run}/cancel"))))
    }

    /// Retries a run that failed or was cancelled.
    pub fn retry(&self, run: &str) -> Request {
        self.authorized(Request::post(self.path(&format!("/runs/{run}/retry"))))
    }

    /// Approves a tool call that waits for approval, or rejects it.
    pub fn decide(&self, run: &str, tool_call: &str, approve: bool) -> Request {
        let path = self.path(&format!("/runs/{run}/approvals/{tool_call}"));
        self.authorized(Request::post(path))
            .json(&json!({ "approve": approve }))
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/{}{rest}", self.id)
    }

    fn authorized(&self, request: Request) -> Request {
        request.bearer(&self.token)
    }
}

#[cfg(test)]
mod tests {
    use super::canned::Canned;
    use super::*;

    #[tokio::test]
    async fn a_request_carries_token_and_body_and_a_problem_is_read() {
        let server = Canned::serve(vec![(502, r#"{"detail":"Agent execution failed: no key"}"#)]);
        let account = Account {
            id: "u1".to_owned(),
            token: "t.o.k".to_owned(),
            expires_in: Duration::ZERO,
        };
        let client = Client::new(server.port);
        let answer = client
            .send(account.chat(&json!({ "message": "hi" })))
            .await
            .unwrap();
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        assert_eq!(answer.problem(), "502 Bad Gateway Agent execution failed: no key");
        let request = server.requests().remove(0);
        assert!(request.starts_with("POST /api/u1/chat HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: Bearer t.o.k\r\n"), "{request}");
        assert!(request.ends_with(r#"{"message":"hi"}"#), "{request}");
    }

    #[tokio::test]
    async fn a_closed_port_is_an_error() {
        let client = Client::new(crate::ports::any_free().unwrap());
        let error = client.send(Request::get("/readyz")).await.unwrap_err();
        assert!(matches!(error, RequestError::Connect(_)), "{error}");
        assert!(!client.is_ready().await);
    }
}
