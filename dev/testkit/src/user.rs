//! A registered user who chats over HTTP. Tests send arbitrary requests with it, so it builds on reqwest.

use errand_shared::Uuid;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::events::Events;

/// A registered user.
#[derive(Clone, Debug)]
pub struct User {
    /// The user's id.
    pub id: Uuid,
    /// The access token.
    pub token: String,
    /// The e-mail address; the password is [`User::PASSWORD`].
    pub email: String,
    http: Client,
    url: String,
}

/// A response of the API.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body; null if it is not JSON.
    pub body: Value,
}

impl Reply {
    /// Sends a request and reads the whole response.
    ///
    /// # Panics
    /// If there is no complete response.
    #[expect(clippy::unwrap_used, reason = "a test without its answer can only fail")]
    pub async fn read(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let status = response.status();
        let headers = response.headers().clone();
        let bytes = response.bytes().await.unwrap();
        Self {
            status,
            headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    /// A member of the body as text; empty if it is not text.
    pub fn text(&self, member: &str) -> &str {
        self.body.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    /// A member of the body as an id.
    ///
    /// # Panics
    /// If it is not an id.
    #[expect(clippy::unwrap_used, reason = "a test without its answer can only fail")]
    pub fn id(&self, member: &str) -> Uuid {
        self.text(member).parse().unwrap()
    }

    /// The names of the tools that were called.
    pub fn tools(&self) -> Vec<&str> {
        let calls = self.body.get("tool_calls").and_then(Value::as_array);
        calls
            .into_iter()
            .flatten()
            .filter_map(|call| call.get("tool_name")?.as_str())
            .collect()
    }
}

impl User {
    /// The password of all test users.
    pub const PASSWORD: &'static str = "correct horse battery staple";

    /// Registers a user with a unique e-mail address.
    ///
    /// # Panics
    /// If the API refuses.
    #[expect(clippy::unwrap_used, reason = "a test without its user can only fail")]
    pub async fn register(http: Client, url: String, name: &str) -> Self {
        let email = format!("{}@example.com", Uuid::now_v7().simple());
        let body = json!({"email": email, "password": Self::PASSWORD, "name": name});
        let reply = Reply::read(http.post(format!("{url}/auth/register")).json(&body)).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        let id = reply
            .body
            .pointer("/user/id")
            .and_then(Value::as_str)
            .unwrap()
            .parse()
            .unwrap();
        Self {
            id,
            token: reply.text("access_token").to_owned(),
            email,
            http,
            url,
        }
    }

    /// The same user at another API.
    #[must_use]
    pub fn at(&self, url: String) -> Self {
        Self { url, ..self.clone() }
    }

    /// A request below `/api/{user_id}`, with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/api/{}{path}", self.url, self.id))
            .bearer_auth(&self.token)
    }

    /// Sends a GET request below `/api/{user_id}`.
    pub async fn get(&self, path: &str) -> Reply {
        Reply::read(self.request(Method::GET, path)).await
    }

    /// Sends a POST request below `/api/{user_id}`.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        Reply::read(self.request(Method::POST, path).json(&body)).await
    }

    /// Sends a GET request below `/admin`.
    pub async fn admin_get(&self, path: &str) -> Reply {
        self.admin_request(Method::GET, path).await
    }

    /// Sends a POST request below `/admin`.
    pub async fn admin_post(&self, path: &str) -> Reply {
        self.admin_request(Method::POST, path).await
    }

    async fn admin_request(&self, method: Method, path: &str) -> Reply {
        let request = self.http.request(method, format!("{}/admin{path}", self.url));
        Reply::read(request.bearer_auth(&self.token)).await
    }

    /// A chat in a new conversation.
    pub async fn chat(&self, message: &str) -> Reply {
        self.post("/chat", json!({"message": message})).await
    }

    /// A chat in an existing conversation.
    pub async fn chat_in(&self, conversation_id: Uuid, message: &str) -> Reply {
        self.post(
            "/chat",
            json!({"message": message, "conversation_id": conversation_id}),
        )
        .await
    }

    /// A chat that does not wait for the answer.
    pub async fn chat_async(&self, conversation_id: Option<Uuid>, message: &str) -> Reply {
        let body = json!({"message": message, "conversation_id": conversation_id});
        Reply::read(
            self.request(Method::POST, "/chat")
                .header("prefer", "respond-async")
                .json(&body),
        )
        .await
    }

    /// A chat in a new or existing conversation that is answered with an event stream.
    pub async fn chat_events(&self, conversation_id: Option<Uuid>, message: &str) -> Events {
        let body = json!({"message": message, "conversation_id": conversation_id});
        let request = self.request(Method::POST, "/chat");
        Events::open(request.header("accept", "text/event-stream").json(&body)).await
    }

    /// The events of a run after the event with this number; 0 for all.
    pub async fn events(&self, run_id: Uuid, after: i64) -> Events {
        let request = self.request(Method::GET, &format!("/runs/{run_id}/events"));
        Events::open(request.header("last-event-id", after)).await
    }

    /// Waits until a run finishes, as long as the API allows.
    pub async fn wait(&self, run_id: Uuid) -> Reply {
        self.get(&format!("/runs/{run_id}?wait=60")).await
    }
}
