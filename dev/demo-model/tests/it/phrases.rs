//! Tables of messages with the tool calls of the first answer.

use errand_fake_model::Answer;

use crate::chat::{Chat, short};

/// The calls of the first answer, joined by ` ; `, or `-` if it is a text.
fn first_calls(text: &str) -> String {
    let mut chat = Chat::new(&["buy milk", "walk dog", "pay bills", "call mom", "read"]);
    match chat.first(text) {
        Answer::Text(_) => "-".to_owned(),
        Answer::ToolCalls(calls) => calls.iter().map(short).collect::<Vec<_>>().join(" ; "),
    }
}

/// Checks every line of `table`: a message, `=>`, and the expected calls.
fn check(table: &str) {
    let lines: Vec<(&str, &str)> = table
        .lines()
        .map(|line| line.rsplit_once("=>").unwrap())
        .collect();
    let wrong: Vec<String> = lines
        .iter()
        .map(|(text, expected)| {
            (
                text.trim().replace("\\n", "\n"),
                expected.trim().replace("\\n", "\n"),
            )
        })
        .map(|(text, expected)| (first_calls(&text), text, expected))
        .filter(|(calls, _, expected)| calls.trim() != expected)
        .map(|(calls, text, expected)| format!("{text:?}\n  expected {expected}\n  actual   {calls}"))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        lines.len(),
        wrong.join("\n")
    );
}

#[test]
fn adds_tasks() {
    check(include_str!("phrases/adding.txt"));
}

#[test]
fn separates_description_from_title() {
    check(include_str!("phrases/descriptions.txt"));
}

#[test]
fn adds_several_titles() {
    check(include_str!("phrases/several_titles.txt"));
}

#[test]
fn keeps_titles_unchanged() {
    check(include_str!("phrases/titles_are_unchanged.txt"));
}

#[test]
fn lists_tasks() {
    check(include_str!("phrases/listing.txt"));
}

#[test]
fn completes_and_reopens_tasks() {
    check(include_str!("phrases/completing_and_reopening.txt"));
}

#[test]
fn changes_titles_and_descriptions() {
    check(include_str!("phrases/changing.txt"));
}

#[test]
fn does_not_delete_immediately() {
    check(include_str!("phrases/deletion_is_not_immediate.txt"));
}

#[test]
fn handles_several_requests_in_one_message() {
    check(include_str!("phrases/several_requests.txt"));
}

#[test]
fn corrects_typos_in_keywords() {
    check(include_str!("phrases/typos_in_keywords.txt"));
}

#[test]
fn small_talk_needs_no_tool() {
    check(include_str!("phrases/small_talk.txt"));
}

#[test]
fn understands_mixed_phrasings() {
    check(include_str!("phrases/mixed_phrasings.txt"));
}
