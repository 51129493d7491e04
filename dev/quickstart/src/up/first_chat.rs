//! Registers the first user and sends the first message, over HTTP like any client.

use std::fs;
use std::path::Path;

use errand_devstack::client::{self, Account, Answer, Client, Request, StatusCode};
use errand_devstack::files::data_dir::DataDir;
use errand_devstack::files::secret::write_private;
use errand_devstack::{Error, Result};

use serde_json::{Value, json};

/// The first user's e-mail.
pub(super) const EMAIL: &str = "you@example.com";

/// The name of the secret that is the first user's password.
pub(super) const PASSWORD_FILE: &str = "first-user-password";

/// The message of the first start.
const FIRST_MESSAGE: &str = "Add a task to try Errand";

/// The message of later starts: it shows the task of the first.
const LATER_MESSAGE: &str = "Show me all my tasks";

/// How often a run that has not finished is read.
const ATTEMPTS: usize = 5;

/// How long each read waits for its end.
const WAIT_SECONDS: u64 = 50;

/// The first user, logged in.
#[derive(Debug)]
pub(super) struct FirstUser {
    pub(super) account: Account,
    /// Whether this start has registered the user.
    is_new: bool,
}

/// Registers the first user, or logs in if an earlier start has registered it.
pub(super) async fn first_user(port: u16, dir: &DataDir) -> Result<FirstUser> {
    let password = dir.secret(PASSWORD_FILE)?;
    let answer = send(port, client::register(EMAIL, password.expose(), "You")).await?;
    match answer.status {
        StatusCode::CREATED => user(&answer, true),
        StatusCode::CONFLICT => {
            let answer = send(port, client::login(EMAIL, password.expose())).await?;
            match answer.status {
                StatusCode::OK => user(&answer, false),
                StatusCode::UNAUTHORIZED => Err(Error::Unusable(format!(
                    "{EMAIL} exists in this database with another password than the one in {}",
                    dir.secret_file(PASSWORD_FILE).display()
                ))),
                _ => Err(unexpected("POST /auth/login", &answer)),
            }
        }
        _ => Err(unexpected("POST /auth/register", &answer)),
    }
}

fn user(answer: &Answer, is_new: bool) -> Result<FirstUser> {
    let account = Account::from_answer(answer).ok_or_else(|| unexpected("the login", answer))?;
    Ok(FirstUser { account, is_new })
}

/// A question and its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The message.
    pub(super) question: &'static str,
    /// The reply.
    pub(super) answer: String,
}

/// Sends a message and waits for its answer. Later starts send another message, once the first one has been answered.
pub(super) async fn chat(port: u16, user: &FirstUser, dir: &DataDir) -> Result<Exchange> {
    let mark = dir.root().join("first-message-answered");
    let question = if mark.exists() && !user.is_new {
        LATER_MESSAGE
    } else {
        FIRST_MESSAGE
    };
    let answer = ask(port, &user.account, question).await?;
    create(&mark)?;
    Ok(Exchange { question, answer })
}

fn create(mark: &Path) -> Result<()> {
    if fs::exists(mark).map_err(Error::path("read", mark))? {
        Ok(())
    } else {
        write_private(mark, "")
    }
}

async fn ask(port: u16, account: &Account, question: &str) -> Result<String> {
    let mut answer = send(port, account.chat(&json!({ "message": question }))).await?;
    for _ in 0..ATTEMPTS {
        if answer.status != StatusCode::ACCEPTED {
            break;
        }
        let body = answer.json();
        let run = text(&body, "run_id").ok_or_else(|| unexpected("the chat", &answer))?;
        answer = send(port, account.get_run(run, WAIT_SECONDS)).await?;
    }
    let body = answer.json();
    let has_succeeded = text(&body, "status").is_none_or(|status| status == "succeeded");
    match text(&body, "message") {
        Some(message) if answer.status == StatusCode::OK && has_succeeded => Ok(message.to_owned()),
        _ => Err(unexpected("the chat", &answer)),
    }
}

fn text<'a>(body: &'a Value, member: &str) -> Option<&'a str> {
    body.get(member)?.as_str()
}

async fn send(port: u16, request: Request) -> Result<Answer> {
    let line = request.line();
    let result = Client::new(port).send(request).await;
    result.map_err(|error| Error::Unusable(format!("{line} failed: {error}")))
}

fn unexpected(what: &str, answer: &Answer) -> Error {
    Error::Unusable(format!("{what} returned {}", answer.problem()))
}

#[cfg(test)]
mod tests {
    use errand_devstack::client::canned::Canned;
    use errand_devstack::files::temp_dir::TempDir;

    use super::*;

    const LOGGED_IN: &str =
        r#"{"user":{"id":"u1"},"access_token":"tok","token_type":"bearer","expires_in":3600}"#;
    const ANSWERED: &str = r#"{"status":"succeeded","message":"Done.","run_id":"r1"}"#;

    fn open_data_dir(parent: &TempDir) -> DataDir {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o711)).unwrap();
        DataDir::open(None, parent.path()).unwrap()
    }

    #[tokio::test]
    async fn the_first_start_registers_and_adds_a_task_and_the_second_logs_in_and_lists_it() {
        let parent = TempDir::for_services().unwrap();
        let dir = open_data_dir(&parent);
        let server = Canned::serve(vec![(201, LOGGED_IN), (200, ANSWERED)]);
        let user = first_user(server.port, &dir).await.unwrap();
        assert_eq!(
            (
                user.account.id.as_str(),
                user.account.expires_in.as_secs(),
                user.is_new
            ),
            ("u1", 3600, true)
        );
        let first = chat(server.port, &user, &dir).await.unwrap();
        assert_eq!((first.question, first.answer.as_str()), (FIRST_MESSAGE, "Done."));
        let requests = server.requests();
        assert!(requests[0].contains(dir.secret(PASSWORD_FILE).unwrap().expose()));
        assert!(requests[1].starts_with("POST /api/u1/chat "));

        let taken = r#"{"detail":"The e-mail is taken"}"#;
        let pending = r#"{"status":"running","message":"","run_id":"r1"}"#;
        let server = Canned::serve(vec![
            (409, taken),
            (200, LOGGED_IN),
            (202, pending),
            (200, ANSWERED),
        ]);
        let user = first_user(server.port, &dir).await.unwrap();
        assert!(!user.is_new);
        let later = chat(server.port, &user, &dir).await.unwrap();
        assert_eq!((later.question, later.answer.as_str()), (LATER_MESSAGE, "Done."));
        assert!(server.requests()[3].starts_with("GET /api/u1/runs/r1?wait=50 "));
    }

    #[tokio::test]
    async fn the_next_start_sends_an_unanswered_first_message_again() {
        let parent = TempDir::for_services().unwrap();
        let dir = open_data_dir(&parent);
        let failed = r#"{"status":"failed","detail":"Agent execution failed: no key"}"#;
        let server = Canned::serve(vec![
            (201, LOGGED_IN),
            (502, failed),
            (409, "{}"),
            (200, LOGGED_IN),
            (200, ANSWERED),
        ]);
        let user = first_user(server.port, &dir).await.unwrap();
        let message = chat(server.port, &user, &dir).await.unwrap_err().to_string();
        assert!(message.contains("Agent execution failed: no key"), "{message}");
        let user = first_user(server.port, &dir).await.unwrap();
        assert_eq!(
            chat(server.port, &user, &dir).await.unwrap().question,
            FIRST_MESSAGE
        );
        server.requests();
    }

    #[tokio::test]
    async fn another_password_in_the_database_is_reported_with_the_file() {
        let parent = TempDir::for_services().unwrap();
        let dir = open_data_dir(&parent);
        let server = Canned::serve(vec![(409, "{}"), (401, "{}")]);
        let message = first_user(server.port, &dir).await.unwrap_err().to_string();
        assert!(
            message.contains("another password") && message.contains(PASSWORD_FILE),
            "{message}"
        );
        server.requests();
    }
}
