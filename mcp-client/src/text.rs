//! What others have written, made fit for a model, a log and a database.

use serde_json::Value;

/// What stands at the end of what was cut.
const CUT: &str = " […]";

/// Without control characters (tab and line feed stay), at most so many bytes.
pub(crate) fn clean(text: &str, most: usize) -> String {
    let is_kept = |char: &char| matches!(char, '\t' | '\n') || !char.is_control();
    let mut cleaned = String::with_capacity(text.len().min(most));
    for char in text.chars().filter(is_kept) {
        if cleaned.len() + char.len_utf8() > most {
            cut(&mut cleaned, most);
            break;
        }
        cleaned.push(char);
    }
    cleaned
}

/// The same on one line.
pub(crate) fn line(text: &str, most: usize) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    clean(&words.join(" "), most)
}

/// Makes room for [`CUT`] and adds it, if it fits at all.
fn cut(text: &mut String, most: usize) {
    let room = most.saturating_sub(CUT.len());
    while text.len() > room && text.pop().is_some() {}
    if most >= CUT.len() {
        text.push_str(CUT);
    }
}

/// The same of every name and string in it. None if it has more levels than that.
pub(crate) fn clean_value(value: Value, levels: usize) -> Option<Value> {
    let deeper = || levels.checked_sub(1);
    Some(match value {
        Value::String(text) => Value::String(clean(&text, usize::MAX)),
        Value::Array(items) => {
            let levels = deeper()?;
            let items: Option<Vec<_>> = items.into_iter().map(|item| clean_value(item, levels)).collect();
            Value::Array(items?)
        }
        Value::Object(members) => {
            let levels = deeper()?;
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
    fn control_characters_go_and_lines_stay() {
        assert_eq!(clean("a\0b\u{1b}[31m\r\n\tc\u{85}🦀", 100), "ab[31m\n\tc🦀");
        assert_eq!(line(" a\n\n b\0 ", 100), "a b");
    }

    #[test]
    fn what_is_cut_says_so_and_keeps_to_its_bytes() {
        for most in 0..20 {
            let cut = clean("🦀🦀🦀🦀🦀🦀", most);
            assert!(cut.len() <= most, "{most}: {cut}");
        }
        assert_eq!(clean("🦀🦀🦀🦀🦀🦀", 15), "🦀🦀 […]");
        assert_eq!(clean("abcdef", 6), "abcdef");
    }

    #[test]
    fn a_value_is_cleaned_at_every_depth_and_refused_below_the_last() {
        let dirty = json!({"a\0": ["x\0y", {"b": 1}]});
        assert_eq!(
            clean_value(dirty.clone(), 3),
            Some(json!({"a": ["xy", {"b": 1}]}))
        );
        assert_eq!(clean_value(dirty, 2), None);
    }
}
