//! Cleans text from servers for the model, the log and the database.

use serde_json::Value;

/// Appended to truncated text.
const ELLIPSIS: &str = " […]";

/// Removes control characters except tab and line feed, and truncates the text to `max` bytes.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let is_kept = |char: &char| matches!(char, '\t' | '\n') || !char.is_control();
    let mut cleaned = String::with_capacity(text.len().min(max));
    for char in text.chars().filter(is_kept) {
        if cleaned.len() + char.len_utf8() > max {
            truncate(&mut cleaned, max);
            break;
        }
        cleaned.push(char);
    }
    cleaned
}

/// Like [`clean`], but on one line.
pub(crate) fn line(text: &str, max: usize) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    clean(&words.join(" "), max)
}

/// Makes room for [`ELLIPSIS`] and appends it, if it fits.
fn truncate(text: &mut String, max: usize) {
    let room = max.saturating_sub(ELLIPSIS.len());
    while text.len() > room && text.pop().is_some() {}
    if max >= ELLIPSIS.len() {
        text.push_str(ELLIPSIS);
    }
}

/// Cleans all names and strings of a value. Returns `None` if it has more than `levels` levels of nesting.
pub(crate) fn clean_value(value: Value, levels: usize) -> Option<Value> {
    let next_level = || levels.checked_sub(1);
    Some(match value {
        Value::String(text) => Value::String(clean(&text, usize::MAX)),
        Value::Array(items) => {
            let levels = next_level()?;
            let items: Option<Vec<_>> = items.into_iter().map(|item| clean_value(item, levels)).collect();
            Value::Array(items?)
        }
        Value::Object(members) => {
            let levels = next_level()?;
            let members: Option<_> = members
                .into_iter()
                .map(|(name, member)| Some((clean(&name, usize::MAX), clean_value(member, levels)?)))
                .collect();
            Value::Object(members?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn removes_control_characters_but_keeps_lines() {
        assert_eq!(clean("a\0b\u{1b}[31m\r\n\tc\u{85}🦀", 100), "ab[31m\n\tc🦀");
        assert_eq!(line(" a\n\n b\0 ", 100), "a b");
    }

    #[test]
    fn truncated_text_has_an_ellipsis_and_fits() {
        for max in 0..20 {
            let cut = clean("🦀🦀🦀🦀🦀🦀", max);
            assert!(cut.len() <= max, "{max}: {cut}");
        }
        assert_eq!(clean("🦀🦀🦀🦀🦀🦀", 15), "🦀🦀 […]");
        assert_eq!(clean("abcdef", 6), "abcdef");
    }

    #[test]
    fn cleans_values_up_to_the_maximum_depth() {
        let dirty = json!({"a\0": ["x\0y", {"b": 1}]});
        assert_eq!(
            clean_value(dirty.clone(), 3),
            Some(json!({"a": ["xy", {"b": 1}]}))
        );
        assert_eq!(clean_value(dirty, 2), None);
    }
}
