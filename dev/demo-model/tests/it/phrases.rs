//! Tables: one message, and the calls of the first answer.

use errand_model::brain::Answer;

use crate::pretended::{Chat, short};

/// The first calls, joined by ` ; `, or `-` where the brain only talks.
fn first_calls(text: &str) -> String {
    let mut chat = Chat::new(&["buy milk", "walk dog", "pay bills", "call mom", "read"]);
    match chat.first(text) {
        Answer::Say(_) => "-".to_owned(),
        Answer::Call(calls) => calls.iter().map(short).collect::<Vec<_>>().join(" ; "),
    }
}

/// Checks every line of `table`: a message, `=>`, and the calls.
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
        .map(|(calls, text, expected)| format!("{text:?}\n  expected {expected}\n  made     {calls}"))
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
fn adding_in_many_phrasings() {
    check(include_str!("phrases/adding_in_many_phrasings.txt"));
}

#[test]
fn descriptions_after_the_title() {
    check(include_str!("phrases/descriptions_after_the_title.txt"));
}

#[test]
fn several_titles_at_once() {
    check(include_str!("phrases/several_titles_at_once.txt"));
}

#[test]
fn titles_stay_as_typed() {
    check(include_str!("phrases/titles_stay_as_typed.txt"));
}

#[test]
fn looking_at_the_list() {
    check(include_str!("phrases/looking_at_the_list.txt"));
}

#[test]
fn completing_and_reopening() {
    check(include_str!("phrases/completing_and_reopening.txt"));
}

#[test]
fn changing() {
    check(include_str!("phrases/changing.txt"));
}

#[test]
fn nothing_is_deleted_before_it_is_confirmed() {
    check(include_str!(
        "phrases/nothing_is_deleted_before_it_is_confirmed.txt"
    ));
}

#[test]
fn several_wishes_in_one_message() {
    check(include_str!("phrases/several_wishes_in_one_message.txt"));
}

#[test]
fn typing_errors_in_keywords() {
    check(include_str!("phrases/typing_errors_in_keywords.txt"));
}

#[test]
fn talk_needs_no_tool() {
    check(include_str!("phrases/talk_needs_no_tool.txt"));
}

#[test]
fn what_people_also_say() {
    check(include_str!("phrases/what_people_also_say.txt"));
}

#[test]
fn and_what_others_say() {
    check(include_str!("phrases/and_what_others_say.txt"));
}
