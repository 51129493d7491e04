//! One caller with a connection of its own, which sends a chat, waits for the answer and checks it.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;

use crate::Result;

/// Who calls.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Session {
    access_token: String,
    user: User,
    /// The conversation to go on with; each chat begins one if there is none.
    #[serde(skip)]
    conversation: Option<String>,
}

impl Session {
    /// Who it is.
    pub(crate) fn user_id(&self) -> &str {
        &self.user.id
    }

    /// Goes on in a conversation.
    pub(crate) fn go_on(&mut self, conversation: String) {
        self.conversation = Some(conversation);
    }
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    id: String,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    tool_calls: Vec<ToolCall>,
}

#[derive(Deserialize)]
struct ToolCall {
    tool_name: String,
    arguments: Arguments,
    result: Outcome,
}

#[derive(Deserialize)]
struct Arguments {
    title: String,
}

#[derive(Deserialize)]
struct Outcome {
    success: bool,
}

/// A connection to the API.
pub(crate) struct Client {
    address: SocketAddr,
    sender: http1::SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the client, and the lab with its clients"
        )]
        tokio::spawn(async move {
            // Whoever sends next is told.
            drop(connection.await);
        });
        Ok(Self { address, sender })
    }

    /// Whether the program at this address says that it is ready; the model, which has no such route, when it answers.
    pub(crate) async fn is_ready(address: SocketAddr) -> bool {
        let asked = async {
            let mut client = Self::connect(address).await?;
            let request = Request::get("/readyz").header(header::HOST, address.to_string());
            let response = client.sender.send_request(request.body(Full::default())?).await?;
            Result::Ok(response.status())
        };
        matches!(asked.await, Ok(StatusCode::OK | StatusCode::NOT_FOUND))
    }

    /// Registers somebody.
    pub(crate) async fn register(&mut self, number: usize) -> Result<Session> {
        let body =
            json!({"email": format!("{number}@lab.example"), "password": "measured twice", "name": "Lab"});
        let (status, body) = self.post("/auth/register", None, &body).await?;
        if status != StatusCode::CREATED {
            return Err(format!("register: {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// Sends a chat, waits for its answer and checks that it is the right one.
    pub(crate) async fn chat(&mut self, session: &Session, title: &str) -> Result<()> {
        let path = format!("/api/{}/chat", session.user.id);
        let body =
            json!({"message": format!("Add a task to {title}"), "conversation_id": session.conversation});
        let (status, body) = self.post(&path, Some(&session.access_token), &body).await?;
        let wrong = || -> Box<dyn std::error::Error + Send + Sync> {
            format!("{title}: {status}: {}", String::from_utf8_lossy(&body)).into()
        };
        if status != StatusCode::OK {
            return Err(wrong());
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|_not_an_answer| wrong())?;
        let [call] = answer.tool_calls.as_slice() else {
            return Err(wrong());
        };
        let right = answer.status == "succeeded"
            && call.tool_name == "add_task"
            && call.arguments.title == title
            && call.result.success;
        if right { Ok(()) } else { Err(wrong()) }
    }

    async fn post(
        &mut self,
        path: &str,
        token: Option<&str>,
        body: &serde_json::Value,
    ) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.sender.ready().await?;
        let response = self
            .sender
            .send_request(request.body(Full::new(serde_json::to_vec(body)?.into()))?)
            .await?;
        Ok((
            response.status(),
            response.into_body().collect().await?.to_bytes(),
        ))
    }
}
