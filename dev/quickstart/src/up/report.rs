//! What `up` prints: where things are, the first chat, and the next steps.

use errand_devstack::client::Account;
use errand_devstack::files::data_dir::DataDir;
use errand_devstack::print;

use super::first_chat::{EMAIL, Exchange, PASSWORD_FILE};
use super::model::Model;

/// What is about to start.
pub(super) fn show_start(dir: &DataDir, model: &Model, has_external_services: bool) {
    print::line(&format!("Data, logs and secrets are in {}", dir.root().display()));
    if has_external_services {
        print::line("Postgres and Redis: the services given by flags");
    }
    match model {
        Model::Demo => print::line("Model: the demo model (set OPENAI_API_KEY to use a real one)"),
        Model::Configured(base) => print::line(&format!("Model: {base}")),
    }
}

/// The first message and its answer.
pub(super) fn show_exchange(exchange: &Exchange) {
    print::line(&format!(
        "\nYou:    {}\nErrand: {}",
        exchange.question,
        indented(&exchange.answer)
    ));
}

/// The addresses, and commands to copy.
pub(super) fn show_next_steps(port: u16, account: &Account, dir: &DataDir) {
    let base = format!("http://127.0.0.1:{port}");
    let Account {
        id,
        token,
        expires_in,
    } = account;
    let minutes = expires_in.as_secs() / 60;
    print::line(&format!(
        "
API      {base}
Docs     {base}/docs
Health   {base}/healthz
Logs     {}

Chat as {EMAIL} (the token is valid for {minutes} minutes):

curl -s {base}/api/{id}/chat \\
  -H 'Authorization: Bearer {token}' \\
  -H 'Content-Type: application/json' \\
  -d '{{\"message\": \"Show me all my tasks\"}}'

Get a new token:

curl -s {base}/auth/login -H 'Content-Type: application/json' \\
  -d \"{{\\\"email\\\": \\\"{EMAIL}\\\", \\\"password\\\": \\\"$(cat {})\\\"}}\"
",
        dir.log_dir().display(),
        shell_word(&dir.secret_file(PASSWORD_FILE).to_string_lossy()),
    ));
}

/// Indents the lines after the first.
fn indented(answer: &str) -> String {
    answer.trim_end().replace('\n', "\n        ")
}

/// Quotes a word for a shell if necessary.
fn shell_word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    if text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_for_the_shell_if_necessary() {
        assert_eq!(shell_word("/home/you/.errand/key"), "/home/you/.errand/key");
        assert_eq!(shell_word("/home/you's x"), r"'/home/you'\''s x'");
    }

    #[test]
    fn an_answer_of_several_lines_is_indented() {
        assert_eq!(indented("one\ntwo\n"), "one\n        two");
    }
}
