//! Repairs JSON that strict parsers reject although its meaning is clear. Only documents that failed to parse are repaired.

/// Repairs the events of one stream.
#[derive(Debug, Default)]
pub(super) struct Repair {
    /// The first half of a surrogate pair that ended the last string. Servers that split text by UTF-16 units send the second half
    /// in the next event.
    high_surrogate: Option<u16>,
}

impl Repair {
    /// Rewrites what RFC 8259 does not allow:
    /// - a surrogate pair that is split over two events moves to the second one; any other unpaired surrogate becomes U+FFFD;
    /// - control characters in strings are escaped;
    /// - `NaN`, `Infinity` and numbers outside of the range of `f64` become `null`.
    pub(super) fn repair(&mut self, json: &str) -> String {
        let mut repaired = String::with_capacity(json.len() + 16);
        let mut rest = json;
        while let Some(start) = rest.find('"') {
            let (outside, string) = rest.split_at(start);
            push_without_bad_numbers(&mut repaired, outside);
            rest = self.repair_string(&mut repaired, string);
        }
        push_without_bad_numbers(&mut repaired, rest);
        repaired
    }

    /// Copies the string literal at the start of `json` and returns what follows it.
    fn repair_string<'a>(&mut self, repaired: &mut String, json: &'a str) -> &'a str {
        repaired.push('"');
        let mut rest = json.get(1..).unwrap_or_default();
        while let Some(next) = rest.chars().next() {
            match (next, unicode_escape(rest)) {
                ('"', _) => {
                    repaired.push('"');
                    return rest.get(1..).unwrap_or_default();
                }
                ('\\', Some((unit, after))) => rest = self.repair_escape(repaired, unit, after),
                ('\\', None) => {
                    let length = 1 + rest.chars().nth(1).map_or(0, char::len_utf8);
                    let (escape, after) = rest.split_at(length);
                    repaired.push_str(escape);
                    rest = after;
                }
                (control, _) if control.is_ascii_control() && control != '\u{7f}' => {
                    push_escape(repaired, u16::from(control as u8));
                    rest = rest.get(1..).unwrap_or_default();
                }
                (other, _) => {
                    repaired.push(other);
                    rest = rest.get(other.len_utf8()..).unwrap_or_default();
                }
            }
        }
        rest
    }

    /// Copies the escape of a UTF-16 unit and returns what follows it.
    fn repair_escape<'a>(&mut self, repaired: &mut String, unit: u16, after: &'a str) -> &'a str {
        if is_high_surrogate(unit) {
            match unicode_escape(after) {
                Some((low, after_low)) if is_low_surrogate(low) => {
                    push_escape(repaired, unit);
                    push_escape(repaired, low);
                    return after_low;
                }
                _ if after.starts_with('"') => self.high_surrogate = Some(unit),
                _ => repaired.push(char::REPLACEMENT_CHARACTER),
            }
        } else if is_low_surrogate(unit) {
            match self.high_surrogate.take() {
                Some(high) => {
                    push_escape(repaired, high);
                    push_escape(repaired, unit);
                }
                None => repaired.push(char::REPLACEMENT_CHARACTER),
            }
        } else {
            push_escape(repaired, unit);
        }
        after
    }
}

const fn is_high_surrogate(unit: u16) -> bool {
    matches!(unit, 0xd800..=0xdbff)
}

const fn is_low_surrogate(unit: u16) -> bool {
    matches!(unit, 0xdc00..=0xdfff)
}

/// The UTF-16 unit of an escape such as `\u0041` at the start of `json`, and what follows it.
fn unicode_escape(json: &str) -> Option<(u16, &str)> {
    let digits = json.strip_prefix("\\u")?;
    let unit = u16::from_str_radix(digits.get(..4)?, 16).ok()?;
    Some((unit, digits.get(4..)?))
}

fn push_escape(repaired: &mut String, unit: u16) {
    repaired.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        let digit = u32::from(unit >> shift) & 0xf;
        repaired.extend(char::from_digit(digit, 16));
    }
}

/// Copies JSON that contains no string.
fn push_without_bad_numbers(repaired: &mut String, json: &str) {
    let is_delimiter =
        |character: char| matches!(character, ',' | ':' | '[' | ']' | '{' | '}') || character.is_whitespace();
    for token in json.split_inclusive(is_delimiter) {
        let word = token.trim_end_matches(is_delimiter);
        let is_bad = word.parse::<f64>().is_ok_and(|number| !number.is_finite());
        repaired.push_str(if is_bad { "null" } else { word });
        repaired.push_str(token.get(word.len()..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn repaired<const N: usize>(events: [&str; N]) -> Vec<Value> {
        let mut repair = Repair::default();
        let read = |event| serde_json::from_str(&repair.repair(event)).unwrap();
        events.map(read).to_vec()
    }

    #[test]
    fn split_surrogate_pair_is_joined_in_the_second_event() {
        let events = repaired([r#"{"a":"x\ud83e"}"#, "{}", r#"{"a":"\udd80y"}"#]);
        assert_eq!(events, [json!({"a": "x"}), json!({}), json!({"a": "🦀y"})]);
    }

    #[test]
    fn unpaired_surrogates_become_replacement_characters() {
        let events = repaired([r#""\ud83ex""#, r#""\udd80""#, r#""\ud83e\ud83e\udd80""#]);
        assert_eq!(
            events,
            [json!("\u{fffd}x"), json!("\u{fffd}"), json!("\u{fffd}🦀")]
        );
    }

    #[test]
    fn numbers_that_json_does_not_have_become_null() {
        let events = repaired([r#"{"a":NaN, "b":[-Infinity,1e999 ,-2.5e3],"c":"NaN, 1e999"}"#]);
        assert_eq!(
            events,
            [json!({"a": null, "b": [null, null, -2500.0], "c": "NaN, 1e999"})]
        );
    }

    #[test]
    fn control_characters_in_strings_are_escaped() {
        assert_eq!(repaired(["{\"a\":\"\tx\u{1}\"}"]), [json!({"a": "\tx\u{1}"})]);
    }

    #[test]
    fn valid_json_keeps_its_meaning() {
        let text = r#"{"a\\":"\"\u00e9\n\\","b":[1,true,null,"é🦀"], "c": {}}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(repaired([text]), [value]);
    }

    #[test]
    fn any_text_is_processed_without_a_panic() {
        for text in [
            "\"",
            "\"\\",
            "\"\\u",
            "\"\\ud8",
            "\"\\ud83e",
            "\"é\\",
            "\\\"",
            "{\"a\":\"\\\u{e9}\"",
        ] {
            Repair::default().repair(text);
        }
    }
}
