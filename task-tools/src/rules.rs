//! What a person or a model may put into a task: one place for the tools and for the HTTP routes.
//!
//! Lengths are in characters, not in bytes. Text is kept as it was sent.

use std::ops::RangeInclusive;

use thiserror::Error;

/// Characters of a title, at most.
pub const TITLE_MAX_CHARS: usize = 255;
/// Characters of a description, at most.
pub const DESCRIPTION_MAX_CHARS: usize = 2000;
/// Characters of a search text, at most.
pub const SEARCH_MAX_CHARS: usize = 255;
/// How many tasks a page may have.
pub const LIMIT: RangeInclusive<i64> = 1..=100;
/// How many tasks a page has if nobody says.
pub const LIMIT_DEFAULT: i64 = 50;

/// A broken rule: which field, and what is wrong with it as the end of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} {message}")]
pub struct Violation {
    /// The field's name on the wire.
    pub field: &'static str,
    /// Such as "must not be blank".
    pub message: String,
}

impl Violation {
    /// Says what is wrong with a field.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
        }
    }
}

/// A title: 1 to 255 characters, not only white space, no U+0000.
///
/// # Errors
/// The broken rule.
pub fn title(text: &str) -> Result<&str, Violation> {
    if text.trim().is_empty() {
        return Err(Violation::new("title", "must not be blank"));
    }
    bounded("title", text, TITLE_MAX_CHARS)
}

/// A description: at most 2000 characters, no U+0000. An empty one stands for none.
///
/// # Errors
/// The broken rule.
pub fn description(text: &str) -> Result<&str, Violation> {
    bounded("description", text, DESCRIPTION_MAX_CHARS)
}

/// A text to search for: at most 255 characters, no U+0000. A blank one is no search at all.
///
/// # Errors
/// The broken rule.
pub fn search(text: &str) -> Result<Option<&str>, Violation> {
    let text = bounded("search", text, SEARCH_MAX_CHARS)?;
    Ok((!text.trim().is_empty()).then_some(text))
}

/// The size of a page: 1 to 100, 50 if nobody says.
///
/// # Errors
/// The broken rule.
pub fn limit(limit: Option<i64>) -> Result<i64, Violation> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if LIMIT.contains(&limit) {
        return Ok(limit);
    }
    Err(Violation::new(
        "limit",
        format!("must be from {} to {}", LIMIT.start(), LIMIT.end()),
    ))
}

/// How many tasks to pass over: 0 or more.
///
/// # Errors
/// The broken rule.
pub fn offset(offset: Option<i64>) -> Result<i64, Violation> {
    match offset.unwrap_or(0) {
        offset @ 0.. => Ok(offset),
        _ => Err(Violation::new("offset", "must be 0 or more")),
    }
}

/// A task's number: 1 or more.
///
/// # Errors
/// The broken rule.
pub fn task_id(id: i64) -> Result<i64, Violation> {
    if id >= 1 {
        return Ok(id);
    }
    Err(Violation::new("task_id", "must be 1 or more"))
}

fn bounded<'a>(field: &'static str, text: &'a str, max: usize) -> Result<&'a str, Violation> {
    if text.contains('\0') {
        return Err(Violation::new(field, "must not contain U+0000"));
    }
    // No text has more characters than bytes, so most are not counted at all.
    if text.len() > max && text.chars().nth(max).is_some() {
        return Err(Violation::new(
            field,
            format!("must have at most {max} characters"),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_in_characters() {
        for char in ["x", "é", "李", "🦀"] {
            assert!(title(&char.repeat(255)).is_ok(), "{char}");
            assert!(title(&char.repeat(256)).is_err(), "{char}");
            assert!(description(&char.repeat(2000)).is_ok(), "{char}");
            assert!(description(&char.repeat(2001)).is_err(), "{char}");
            assert!(search(&char.repeat(255)).is_ok(), "{char}");
            assert!(search(&char.repeat(256)).is_err(), "{char}");
        }
    }

    #[test]
    fn a_title_is_not_blank_and_is_kept_as_sent() {
        for blank in ["", " ", "\n\t", "\u{a0}\u{3000}"] {
            assert_eq!(
                title(blank),
                Err(Violation::new("title", "must not be blank")),
                "{blank:?}"
            );
        }
        assert_eq!(title("  milk "), Ok("  milk "));
    }

    #[test]
    fn u_0000_is_refused() {
        assert!(title("a\0").is_err());
        assert!(description("a\0").is_err());
        assert!(search("a\0").is_err());
    }

    #[test]
    fn a_blank_search_is_no_search() {
        assert_eq!(search(""), Ok(None));
        assert_eq!(search("  "), Ok(None));
        assert_eq!(search(" a "), Ok(Some(" a ")));
    }

    #[test]
    fn numbers_have_their_ranges() {
        let cases = [
            (None, Some(50)),
            (Some(1), Some(1)),
            (Some(100), Some(100)),
            (Some(0), None),
            (Some(101), None),
        ];
        for (given, expected) in cases {
            assert_eq!(limit(given).ok(), expected, "{given:?}");
        }
        assert_eq!(offset(None), Ok(0));
        assert_eq!(offset(Some(i64::MAX)), Ok(i64::MAX));
        assert!(offset(Some(-1)).is_err());
        assert_eq!(task_id(1), Ok(1));
        assert!(task_id(0).is_err() && task_id(-1).is_err());
        assert_eq!(
            limit(Some(0)).unwrap_err().to_string(),
            "limit must be from 1 to 100"
        );
    }
}
