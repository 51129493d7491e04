//! What `up` shows: where things are, the first answer, how to go on.

use super::first_chat::{Account, EMAIL, Exchange, PASSWORD_FILE};
use super::model::Model;
use crate::folder::Folder;
use crate::say::say;

/// What this start will do.
pub(super) fn begin(folder: &Folder, model: &Model, outside: bool) {
    say(&format!(
        "Data, logs and secrets are in {}",
        folder.root().display()
    ));
    if outside {
        say("Postgres and Redis: the ones given by flags");
    }
    match model {
        Model::Demo => say("Model: the demo model (set OPENAI_API_KEY for a real one)"),
        Model::Configured(base) => say(&format!("Model: {base}")),
    }
}

/// The first message and its answer.
pub(super) fn exchange(exchange: &Exchange) {
    say(&format!(
        "\nYou:    {}\nErrand: {}",
        exchange.question,
        indented(&exchange.answer)
    ));
}

/// The addresses, and a line to copy.
pub(super) fn go_on(port: u16, account: &Account, folder: &Folder) {
    let base = format!("http://127.0.0.1:{port}");
    let Account {
        id, token, minutes, ..
    } = account;
    say(&format!(
        "
API      {base}
Docs     {base}/docs
Health   {base}/healthz
Logs     {}

Go on as {EMAIL} (the token is good for {minutes} minutes):

curl -s {base}/api/{id}/chat \\
  -H 'Authorization: Bearer {token}' \\
  -H 'Content-Type: application/json' \\
  -d '{{\"message\": \"Show me all my tasks\"}}'

A fresh token:

curl -s {base}/auth/login -H 'Content-Type: application/json' \\
  -d \"{{\\\"email\\\": \\\"{EMAIL}\\\", \\\"password\\\": \\\"$(cat {})\\\"}}\"
",
        logs(folder),
        shell_word(&folder.secret_file(PASSWORD_FILE).to_string_lossy()),
    ));
}

/// The folder of the logs.
pub(super) fn logs(folder: &Folder) -> String {
    folder.root().join("logs").display().to_string()
}

/// The answer's later lines stand under its first.
fn indented(answer: &str) -> String {
    answer.trim_end().replace('\n', "\n        ")
}

/// One word for a shell, whatever is in it.
fn shell_word(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_for_the_shell_when_it_must_be() {
        assert_eq!(shell_word("/home/you/.errand/key"), "/home/you/.errand/key");
        assert_eq!(shell_word("/home/you's x"), r"'/home/you'\''s x'");
    }

    #[test]
    fn an_answer_of_several_lines_is_indented() {
        assert_eq!(indented("one\ntwo\n"), "one\n        two");
    }
}
