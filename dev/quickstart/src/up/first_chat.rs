//! The first user and the first message, through the API as anybody would.

use std::fs;
use std::path::Path;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::http::{self, Answer};
use crate::secret::write_private;

/// The first user's e-mail.
pub(super) const EMAIL: &str = "you@example.com";

/// The secret file of the first user's password.
pub(super) const PASSWORD_FILE: &str = "first-user-password";

/// What the very first start asks.
const FIRST_MESSAGE: &str = "Add a task to try Errand";

/// What every later start asks: the first start's task is there.
const LATER_MESSAGE: &str = "Show me all my tasks";

/// How often a run that is not over is asked for, each time for some 50 s.
const ASK_AGAIN: usize = 5;

/// A logged-in user.
#[derive(Debug)]
pub(super) struct Account {
    /// The user's id, as in the API's paths.
    pub(super) id: String,
    /// The access token.
    pub(super) token: String,
    /// How long the token lives.
    pub(super) minutes: u64,
    /// Whether it was made just now.
    pub(super) is_new: bool,
}

/// Registers the first user, or logs in when it is there already.
pub(super) async fn first_user(port: u16, folder: &Folder) -> Result<Account> {
    let password = folder.secret(PASSWORD_FILE)?;
    let register = json!({ "email": EMAIL, "password": password.expose(), "name": "You" });
    let answer = call(port, Method::POST, "/auth/register", None, Some(&register)).await?;
    match answer.status {
        StatusCode::CREATED => account(&answer, true),
        StatusCode::CONFLICT => {
            let login = json!({ "email": EMAIL, "password": password.expose() });
            let answer = call(port, Method::POST, "/auth/login", None, Some(&login)).await?;
            match answer.status {
                StatusCode::OK => account(&answer, false),
                StatusCode::UNAUTHORIZED => Err(Error::Unusable(format!(
                    "{EMAIL} exists in this database with another password than the one in {}",
                    folder.secret_file(PASSWORD_FILE).display()
                ))),
                _ => Err(unexpected("POST /auth/login", &answer)),
            }
        }
        _ => Err(unexpected("POST /auth/register", &answer)),
    }
}

fn account(answer: &Answer, is_new: bool) -> Result<Account> {
    let id = answer.body.pointer("/user/id").and_then(Value::as_str);
    let seconds = answer
        .body
        .get("expires_in")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    match (id, answer.text("access_token")) {
        (Some(id), Some(token)) => Ok(Account {
            id: id.to_owned(),
            token: token.to_owned(),
            minutes: seconds / 60,
            is_new,
        }),
        _ => Err(unexpected("logging in", answer)),
    }
}

/// A question and its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    /// What was sent.
    pub(super) question: &'static str,
    /// What came back.
    pub(super) answer: String,
}

/// Sends a message and waits for its answer: the first message until one has
/// been answered, another one at every later start.
pub(super) async fn chat(port: u16, account: &Account, folder: &Folder) -> Result<Exchange> {
    let mark = folder.root().join("first-message-answered");
    let question = if mark.exists() && !account.is_new {
        LATER_MESSAGE
    } else {
        FIRST_MESSAGE
    };
    let answer = ask(port, account, question).await?;
    note(&mark)?;
    Ok(Exchange { question, answer })
}

fn note(mark: &Path) -> Result<()> {
    if fs::exists(mark).map_err(Error::path("read", mark))? {
        Ok(())
    } else {
        write_private(mark, "")
    }
}

async fn ask(port: u16, account: &Account, question: &str) -> Result<String> {
    let token = Some(account.token.as_str());
    let path = format!("/api/{}/chat", account.id);
    let mut answer = call(
        port,
        Method::POST,
        &path,
        token,
        Some(&json!({ "message": question })),
    )
    .await?;
    for _ in 0..ASK_AGAIN {
        if answer.status != StatusCode::ACCEPTED {
            break;
        }
        let run = answer
            .text("run_id")
            .ok_or_else(|| unexpected("the chat", &answer))?;
        let path = format!("/api/{}/runs/{run}?wait=50", account.id);
        answer = call(port, Method::GET, &path, token, None).await?;
    }
    let succeeded = answer.text("status").is_none_or(|status| status == "succeeded");
    match answer.text("message") {
        Some(message) if answer.status == StatusCode::OK && succeeded => Ok(message.to_owned()),
        _ => Err(unexpected("the chat", &answer)),
    }
}

async fn call(
    port: u16,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<Answer> {
    let sent = http::send(port, method.clone(), path, token, body).await;
    sent.map_err(|fault| Error::Unusable(format!("{method} {path} on the API failed: {fault}")))
}

fn unexpected(what: &str, answer: &Answer) -> Error {
    Error::Unusable(format!("{what} was answered with {}", answer.problem()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::canned::Canned;
    use crate::scratch::Scratch;

    const LOGGED_IN: &str =
        r#"{"user":{"id":"u1"},"access_token":"tok","token_type":"bearer","expires_in":3600}"#;
    const ANSWERED: &str = r#"{"status":"succeeded","message":"Done.","run_id":"r1"}"#;

    fn open_folder(scratch: &Scratch) -> Folder {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o711)).unwrap();
        Folder::open(None, scratch.path()).unwrap()
    }

    #[tokio::test]
    async fn the_first_start_registers_and_adds_a_task_and_the_second_logs_in_and_lists() {
        let scratch = Scratch::new(None).unwrap();
        let folder = open_folder(&scratch);
        let server = Canned::serve(vec![(201, LOGGED_IN), (200, ANSWERED)]);
        let account = first_user(server.port, &folder).await.unwrap();
        assert_eq!(
            (account.id.as_str(), account.minutes, account.is_new),
            ("u1", 60, true)
        );
        let first = chat(server.port, &account, &folder).await.unwrap();
        assert_eq!((first.question, first.answer.as_str()), (FIRST_MESSAGE, "Done."));
        let requests = server.requests();
        assert!(requests[0].contains(folder.secret(PASSWORD_FILE).unwrap().expose()));
        assert!(requests[1].starts_with("POST /api/u1/chat "));

        let taken = r#"{"detail":"The e-mail is taken"}"#;
        let pending = r#"{"status":"running","message":"","run_id":"r1"}"#;
        let server = Canned::serve(vec![
            (409, taken),
            (200, LOGGED_IN),
            (202, pending),
            (200, ANSWERED),
        ]);
        let account = first_user(server.port, &folder).await.unwrap();
        assert!(!account.is_new);
        let later = chat(server.port, &account, &folder).await.unwrap();
        assert_eq!((later.question, later.answer.as_str()), (LATER_MESSAGE, "Done."));
        assert!(server.requests()[3].starts_with("GET /api/u1/runs/r1?wait=50 "));
    }

    #[tokio::test]
    async fn a_first_message_without_an_answer_is_sent_again_by_the_next_start() {
        let scratch = Scratch::new(None).unwrap();
        let folder = open_folder(&scratch);
        let failed = r#"{"status":"failed","detail":"Agent execution failed: no key"}"#;
        let server = Canned::serve(vec![
            (201, LOGGED_IN),
            (502, failed),
            (409, "{}"),
            (200, LOGGED_IN),
            (200, ANSWERED),
        ]);
        let account = first_user(server.port, &folder).await.unwrap();
        let message = chat(server.port, &account, &folder)
            .await
            .unwrap_err()
            .to_string();
        assert!(message.contains("Agent execution failed: no key"), "{message}");
        let account = first_user(server.port, &folder).await.unwrap();
        assert_eq!(
            chat(server.port, &account, &folder).await.unwrap().question,
            FIRST_MESSAGE
        );
        server.requests();
    }

    #[tokio::test]
    async fn another_password_in_the_database_is_said_with_the_file() {
        let scratch = Scratch::new(None).unwrap();
        let folder = open_folder(&scratch);
        let server = Canned::serve(vec![(409, "{}"), (401, "{}")]);
        let message = first_user(server.port, &folder).await.unwrap_err().to_string();
        assert!(
            message.contains("another password") && message.contains(PASSWORD_FILE),
            "{message}"
        );
        server.requests();
    }
}
