//! Validation rules for tasks, shared by the tools and the HTTP routes.
//!
//! Lengths are in characters, not bytes. Text is stored unchanged.

use std::ops::RangeInclusive;

use thiserror::Error;

/// Maximum length of a title.
pub const TITLE_MAX_CHARS: usize = 255;
/// Maximum length of a description.
pub const DESCRIPTION_MAX_CHARS: usize = 2000;
/// Maximum length of a search text.
pub const SEARCH_MAX_CHARS: usize = 255;
/// Allowed sizes of a page.
pub const LIMIT: RangeInclusive<i64> = 1..=100;
/// Default size of a page.
pub const LIMIT_DEFAULT: i64 = 50;

/// A violated rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} {message}")]
pub struct Violation {
    /// Name of the JSON member or query parameter.
    pub field: &'static str,
    /// What is wrong, as the rest of a sentence: "must not be blank".
    pub message: String,
}

impl Violation {
    /// `message` completes a sentence that starts with the field's name.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
        }
    }
}

/// Checks a title: 1 to 255 characters, not only white space, no U+0000.
///
/// # Errors
/// The violated rule.
pub fn title(text: &str) -> Result<&str, Violation> {
    if text.trim().is_empty() {
        return Err(Violation::new("title", "must not be blank"));
    }
    bounded("title", text, TITLE_MAX_CHARS)
}

/// Checks a description: at most 2000 characters, no U+0000. An empty text means no description.
///
/// # Errors
/// The violated rule.
pub fn description(text: &str) -> Result<&str, Violation> {
    bounded("description", text, DESCRIPTION_MAX_CHARS)
}

/// Checks a search text: at most 255 characters, no U+0000. Returns `None` for a blank text, which matches everything.
///
/// # Errors
/// The violated rule.
pub fn search(text: &str) -> Result<Option<&str>, Violation> {
    let text = bounded("search", text, SEARCH_MAX_CHARS)?;
    Ok((!text.trim().is_empty()).then_some(text))
}

/// Checks the size of a page: 1 to 100, by default 50.
///
/// # Errors
/// The violated rule.
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

/// Checks the number of tasks to skip: 0 or more, by default 0.
///
/// # Errors
/// The violated rule.
pub fn offset(offset: Option<i64>) -> Result<i64, Violation> {
    match offset.unwrap_or(0) {
        offset @ 0.. => Ok(offset),
        _ => Err(Violation::new("offset", "must be 0 or more")),
    }
}

/// Checks a task's number: 1 or more.
///
/// # Errors
/// The violated rule.
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
    // A text has at most as many characters as bytes, so short texts need no counting.
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
    fn title_must_not_be_blank_and_is_unchanged() {
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
    fn u0000_is_rejected() {
        assert!(title("a\0").is_err());
        assert!(description("a\0").is_err());
        assert!(search("a\0").is_err());
    }

    #[test]
    fn blank_search_matches_everything() {
        assert_eq!(search(""), Ok(None));
        assert_eq!(search("  "), Ok(None));
        assert_eq!(search(" a "), Ok(Some(" a ")));
    }

    #[test]
    fn numbers_must_be_in_range() {
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
