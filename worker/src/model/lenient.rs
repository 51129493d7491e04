//! Deserializes JSON whose members may have any type. A member of an unexpected type is read as missing instead of failing the
//! whole document, because providers send `null`, numbers for strings, single objects for lists and so on.
//!
//! Each type reads the JSON in one pass and borrows from it where possible.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{
        Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::Value;

/// Implements the methods of a visitor for the JSON types that mean "missing".
macro_rules! read_as_missing {
    ($($method:ident)+) => { $(read_as_missing!(@ $method);)+ };
    (@ unit) => {
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@ bool) => {
        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@ numbers) => {
        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@ str) => {
        fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@ seq) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
    (@ map) => {
        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}
pub(super) use read_as_missing;

macro_rules! expecting_anything {
    () => {
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("any JSON value")
        }
    };
}
pub(super) use expecting_anything;

/// A string, or a number as its decimal text. `None` for anything else.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) Option<Cow<'a, str>>);

impl Text<'_> {
    /// The text, unless it is missing or empty.
    pub(super) fn non_empty(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            expecting_anything!();
            read_as_missing!(unit bool seq map);

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Owned(text.to_owned()))))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Owned(text))))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                self.visit_string(number.to_string())
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                self.visit_string(number.to_string())
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                self.visit_string(number.to_string())
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

/// An integer, also as a fraction (rounded down) or in a string. `None` for anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Integer(pub(super) Option<i64>);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;

        impl<'de> Visitor<'de> for IntegerVisitor {
            type Value = Integer;

            expecting_anything!();
            read_as_missing!(unit bool seq map);

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Integer(Some(i64::try_from(number).unwrap_or(i64::MAX))))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Integer(Some(number)))
            }

            #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Integer(Some(number.floor() as i64)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Integer(text.trim().parse().ok()))
            }
        }

        deserializer.deserialize_any(IntegerVisitor)
    }
}

/// An object. `None` for anything else.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object<T>(pub(super) Option<T>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<fn() -> T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            expecting_anything!();
            read_as_missing!(unit bool numbers str seq);

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(|object| Object(Some(object)))
            }
        }

        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

/// The objects of a list. A single object is a list of one; anything else is an empty list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<fn() -> T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = List<T>;

            expecting_anything!();
            read_as_missing!(unit bool numbers str);

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element::<Object<T>>()? {
                    list.extend(item.0);
                }
                Ok(List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(|item| List(vec![item]))
            }
        }

        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

/// Arguments of a tool call as JSON text: a string as it is, any other JSON value serialized. `None` for `null`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments<'a>(pub(super) Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Arguments<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ArgumentsVisitor;

        impl<'de> Visitor<'de> for ArgumentsVisitor {
            type Value = Arguments<'de>;

            expecting_anything!();
            read_as_missing!(unit bool numbers);

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Arguments(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Arguments(Some(Cow::Owned(text.to_owned()))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                let value = Value::deserialize(SeqAccessDeserializer::new(items))?;
                Ok(Arguments(Some(Cow::Owned(value.to_string()))))
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                let value = Value::deserialize(MapAccessDeserializer::new(members))?;
                Ok(Arguments(Some(Cow::Owned(value.to_string()))))
            }
        }

        deserializer.deserialize_any(ArgumentsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a, T: Deserialize<'a>>(json: &'a str) -> T {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn values_of_another_type_are_missing() {
        for json in ["null", "true", "[1,[2]]", r#"{"a":{"b":1}}"#] {
            assert_eq!(read::<Text<'_>>(json), Text::default(), "{json}");
            assert_eq!(read::<Integer>(json), Integer::default(), "{json}");
        }
        for json in ["null", "true", "-1", "1.5", r#""text""#, "[[1]]"] {
            assert_eq!(read::<Object<Value>>(json), Object::default(), "{json}");
        }
        for json in ["null", "true", "1", r#""text""#, "[]", r#"[null,1,"a",[{}]]"#] {
            assert_eq!(read::<List<Value>>(json), List::default(), "{json}");
        }
        assert_eq!(read::<Arguments<'_>>("null"), Arguments::default());
    }

    #[test]
    fn values_in_another_notation_are_understood() {
        let text = |text: &'static str| Text(Some(Cow::Borrowed(text)));
        assert_eq!(read::<Text<'_>>(r#""a\nb""#), text("a\nb"));
        assert_eq!(read::<Text<'_>>("7"), text("7"));
        assert_eq!(read::<Text<'_>>("-1.5"), text("-1.5"));
        for (json, number) in [
            ("0", 0),
            ("-1", -1),
            ("1.9", 1),
            ("1e300", i64::MAX),
            ("18446744073709551615", i64::MAX),
            (r#"" 3""#, 3),
        ] {
            assert_eq!(read::<Integer>(json), Integer(Some(number)), "{json}");
        }
        assert_eq!(read::<List<Value>>(r#"{"a":1}"#).0.len(), 1);
        for (json, arguments) in [
            (r#""{\"a\":1}""#, r#"{"a":1}"#),
            (r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            ("[]", "[]"),
        ] {
            assert_eq!(
                read::<Arguments<'_>>(json).0.as_deref(),
                Some(arguments),
                "{json}"
            );
        }
    }
}
