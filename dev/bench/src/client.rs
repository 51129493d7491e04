//! A client with its own connection that sends a chat, waits for the answer and checks it.

use std::net::SocketAddr;

use errand_devstack::client::{self, Account, Connection, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::Result;

/// A registered user.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    account: Account,
    /// The conversation of the chats; `None` starts a new one for each chat.
    conversation: Option<String>,
}

impl Session {
    pub(crate) fn user_id(&self) -> &str {
        &self.account.id
    }

    /// Sends the next chats to this conversation.
    pub(crate) fn set_conversation(&mut self, conversation: String) {
        self.conversation = Some(conversation);
    }
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

/// A keep-alive connection to the API.
pub(crate) struct Client {
    connection: Connection,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let connection = Connection::open(address).await?;
        Ok(Self { connection })
    }

    /// Registers a user.
    pub(crate) async fn register(&mut self, number: usize) -> Result<Session> {
        let request = client::register(&format!("{number}@lab.example"), "measured twice", "Lab");
        let answer = self.connection.send(request).await?;
        let account =
            Account::from_answer(&answer).ok_or_else(|| format!("register: {}", answer.problem()))?;
        Ok(Session {
            account,
            conversation: None,
        })
    }

    /// Sends a chat, waits for its answer and checks it.
    pub(crate) async fn chat(&mut self, session: &Session, title: &str) -> Result<()> {
        let body =
            json!({"message": format!("Add a task to {title}"), "conversation_id": session.conversation});
        let request = session.account.chat(&body).timeout(crate::load::CHAT_TIMEOUT);
        let answer = self.connection.send(request).await?;
        let wrong = || -> Box<dyn std::error::Error + Send + Sync> {
            let body = String::from_utf8_lossy(&answer.body);
            format!("{title}: {}: {body}", answer.status).into()
        };
        if answer.status != StatusCode::OK {
            return Err(wrong());
        }
        let chat: Answer = serde_json::from_slice(&answer.body).map_err(|_not_an_answer| wrong())?;
        let [call] = chat.tool_calls.as_slice() else {
            return Err(wrong());
        };
        let is_right = chat.status == "succeeded"
            && call.tool_name == "add_task"
            && call.arguments.title == title
            && call.result.success;
        if is_right { Ok(()) } else { Err(wrong()) }
    }
}
