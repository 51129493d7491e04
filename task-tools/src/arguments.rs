//! Parses the arguments of tool calls: lenient in form, strict in meaning.
//!
//! Models write `"3"` or `3.0` instead of 3, and null for omitted values; both are accepted. Unknown members are ignored, in
//! particular `user_id`. U+0000 is removed from text, because the database can't store it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::rules::Violation;

/// The arguments of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Arguments<'a> {
    /// A text, or `None` if it is missing.
    pub(crate) fn text(self, field: &'static str) -> Result<Option<Cow<'a, str>>, Violation> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => Ok(Some(text.replace('\0', "").into())),
            Some(Value::String(text)) => Ok(Some(text.into())),
            Some(_) => Err(Violation::new(field, "must be a string")),
        }
    }

    /// An integer, or `None` if it is missing.
    pub(crate) fn integer(self, field: &'static str) -> Result<Option<i64>, Violation> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let number = match value {
            Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(to_integer)),
            Value::String(text) => {
                let text = text.trim();
                let text = text.strip_prefix('#').unwrap_or(text);
                text.parse()
                    .ok()
                    .or_else(|| text.parse().ok().and_then(to_integer))
            }
            _ => None,
        };
        number
            .map(Some)
            .ok_or_else(|| Violation::new(field, "must be a whole number"))
    }

    /// A boolean, or `None` if it is missing.
    pub(crate) fn boolean(self, field: &'static str) -> Result<Option<bool>, Violation> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(Value::String(text)) if text.trim().eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(text)) if text.trim().eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(Violation::new(field, "must be true or false")),
        }
    }

    fn get(self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }
}

/// Returns the value, or a violation if it is missing.
pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, Violation> {
    value.ok_or_else(|| Violation::new(field, "is required"))
}

/// Converts a float without a fraction, in the range in which floats represent all integers.
fn to_integer(float: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (float.fract() == 0.0 && float.abs() <= EXACT)
        .then(|| format!("{float:.0}").parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T>(value: Value, reader: impl Fn(Arguments<'_>) -> Result<T, Violation>) -> Result<T, String> {
        let members = Map::from_iter([("x".to_owned(), value)]);
        reader(Arguments(&members)).map_err(|violation| violation.message)
    }

    #[test]
    fn parses_integers_leniently() {
        let cases = [
            (json!(3), Some(Some(3))),
            (json!(-3), Some(Some(-3))),
            (json!(3.0), Some(Some(3))),
            (json!("3"), Some(Some(3))),
            (json!(" #3 "), Some(Some(3))),
            (json!("3.0"), Some(Some(3))),
            (json!(i64::MAX), Some(Some(i64::MAX))),
            (json!(null), Some(None)),
            (json!(3.5), None),
            (json!(1e30), None),
            (json!(u64::MAX), None),
            (json!("three"), None),
            (json!(""), None),
            (json!("inf"), None),
            (json!("NaN"), None),
            (json!(true), None),
            (json!([3]), None),
            (json!({}), None),
        ];
        for (value, expected) in cases {
            let got = read(value.clone(), |arguments| arguments.integer("x"));
            assert_eq!(got.ok(), expected, "{value}");
        }
    }

    #[test]
    fn parses_booleans_leniently() {
        let cases = [
            (json!(true), Some(Some(true))),
            (json!("True"), Some(Some(true))),
            (json!("false"), Some(Some(false))),
            (json!(null), Some(None)),
            (json!("yes"), None),
            (json!(1), None),
        ];
        for (value, expected) in cases {
            let got = read(value.clone(), |arguments| arguments.boolean("x"));
            assert_eq!(got.ok(), expected, "{value}");
        }
    }

    #[test]
    fn removes_u0000_from_text() {
        let text = |value: Value| read(value, |arguments| Ok(arguments.text("x")?.map(Cow::into_owned)));
        assert_eq!(text(json!("né 🦀\n")), Ok(Some("né 🦀\n".to_owned())));
        assert_eq!(text(json!("a\0b")), Ok(Some("ab".to_owned())));
        assert_eq!(text(json!(null)), Ok(None));
        for other in [json!(1), json!(true), json!(["a"]), json!({"a": 1})] {
            assert_eq!(text(other), Err("must be a string".to_owned()));
        }
        assert_eq!(Arguments(&Map::new()).text("x"), Ok(None));
    }
}
