//! Reading a model's arguments: lenient in form, strict in meaning.
//!
//! Models write `"3"` or `3.0` for 3, and null for what they leave out; that is understood. Members that no tool knows
//! are passed over, above all any `user_id`. U+0000, which the database cannot keep, is removed from text.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::rules::Violation;

/// The arguments of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Arguments<'a> {
    /// A text, or none.
    pub(crate) fn text(self, field: &'static str) -> Result<Option<Cow<'a, str>>, Violation> {
        match self.given(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => Ok(Some(text.replace('\0', "").into())),
            Some(Value::String(text)) => Ok(Some(text.into())),
            Some(_) => Err(Violation::new(field, "must be a string")),
        }
    }

    /// A whole number, or none.
    pub(crate) fn integer(self, field: &'static str) -> Result<Option<i64>, Violation> {
        let Some(value) = self.given(field) else {
            return Ok(None);
        };
        let number = match value {
            Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
            Value::String(text) => {
                let text = text.trim();
                let text = text.strip_prefix('#').unwrap_or(text);
                text.parse().ok().or_else(|| text.parse().ok().and_then(whole))
            }
            _ => None,
        };
        number
            .map(Some)
            .ok_or_else(|| Violation::new(field, "must be a whole number"))
    }

    /// True, false or none.
    pub(crate) fn boolean(self, field: &'static str) -> Result<Option<bool>, Violation> {
        match self.given(field) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(Value::String(text)) if text.trim().eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(text)) if text.trim().eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(Violation::new(field, "must be true or false")),
        }
    }

    fn given(self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }
}

/// What must be there.
pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, Violation> {
    value.ok_or_else(|| Violation::new(field, "is required"))
}

/// A float that is a whole number, within the range in which floats can tell whole numbers apart.
fn whole(float: f64) -> Option<i64> {
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
    fn integers_are_read_leniently() {
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
    fn booleans_are_read_leniently() {
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
    fn text_is_text_without_u_0000() {
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
