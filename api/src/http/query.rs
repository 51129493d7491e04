//! Query strings: parsed by hand, so that a value that breaks a rule is a 422 that names its parameter.
//!
//! Parameters that nobody asks for are passed over; one that is asked for may stand there once.

use axum::{
    extract::{FromRequestParts, Query as Pairs},
    http::{Uri, request::Parts},
};
use errand_task_tools::rules::{self, Violation};

use crate::{http::error::ApiError, state::App};

/// What a handler takes from the query string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// What can be read from a query string.
pub(crate) trait FromQuery: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with the parameter that breaks a rule.
    fn from_query(params: &Params) -> Result<Self, ApiError>;
}

impl<T: FromQuery> FromRequestParts<App> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, ApiError> {
        T::from_query(&Params::of(&parts.uri)?).map(Self)
    }
}

/// The parameters of a query string, decoded.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The parameters of an address.
    ///
    /// # Errors
    /// If its query string is malformed.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        let Pairs(pairs) = Pairs::try_from_uri(uri)
            .map_err(|rejection| ApiError::invalid("", format!("a malformed query string: {rejection}")))?;
        Ok(Self(pairs))
    }

    /// A text as it is. None if the parameter is not there.
    ///
    /// # Errors
    /// If it is there more than once; so with all that follow.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, ApiError> {
        let mut values = self
            .0
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(ApiError::invalid(name, "must be given once")),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// If it is anything else.
    pub(crate) fn boolean(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        self.parsed(name, "must be true or false", |text| text.parse().ok())
    }

    /// A whole number.
    ///
    /// # Errors
    /// If it is anything else, or too large for 64 bits.
    pub(crate) fn integer(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        self.parsed(name, "must be a whole number", |text| text.parse().ok())
    }

    /// A cursor, by its list's way to read it.
    ///
    /// # Errors
    /// If it is malformed, or of another list.
    pub(crate) fn cursor<T>(
        &self,
        name: &'static str,
        decode: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        self.parsed(name, "must be a next_cursor of this list", decode)
    }

    /// The size of a page: from 1 to 100, 50 if it does not say.
    ///
    /// # Errors
    /// If it is out of range.
    pub(crate) fn limit(&self) -> Result<i64, ApiError> {
        Ok(rules::limit(self.integer("limit")?)?)
    }

    /// A value that `parse` reads.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(crate) fn parsed<T>(
        &self,
        name: &'static str,
        rule: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        parse(text).map(Some).ok_or_else(|| ApiError::invalid(name, rule))
    }
}

impl From<Violation> for ApiError {
    fn from(violation: Violation) -> Self {
        Self::invalid(violation.field, violation.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::cursor::BeforeMessage;

    fn params(query: &str) -> Params {
        Params::of(&format!("/path?{query}").parse().unwrap()).unwrap()
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        match result.unwrap_err() {
            ApiError::Invalid(errors) => format!("{} {}", errors[0].field, errors[0].message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_are_decoded() {
        let params = params("search=a+b%26%C3%A9&completed=true&offset=12&empty=");
        assert_eq!(params.text("search").unwrap(), Some("a b&é"));
        assert_eq!(params.boolean("completed").unwrap(), Some(true));
        assert_eq!(params.integer("offset").unwrap(), Some(12));
        assert_eq!(params.text("empty").unwrap(), Some(""));
    }

    #[test]
    fn what_is_not_there_is_none_whatever_else_is() {
        for query in ["", "&&", "other=1&other=2", "Limit=x", "%FF=%FF"] {
            let params = params(query);
            assert_eq!(params.text("search").unwrap(), None, "{query}");
            assert_eq!(params.boolean("completed").unwrap(), None, "{query}");
            assert_eq!(params.limit().unwrap(), 50, "{query}");
            assert_eq!(
                params.cursor("cursor", BeforeMessage::decode).unwrap(),
                None,
                "{query}"
            );
        }
        assert_eq!(
            Params::of(&"/path".parse().unwrap()).unwrap().limit().unwrap(),
            50
        );
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        for value in ["", "abc", "1.5", "1e2", "+", "%00", "99999999999999999999", "٣"] {
            let uri = format!("/path?limit={}", value.replace('٣', "%D9%A3"))
                .parse()
                .unwrap();
            assert_eq!(
                refused(Params::of(&uri).unwrap().limit()),
                "limit must be a whole number",
                "{value}"
            );
        }
        for value in ["0", "-1", "101", "9223372036854775807"] {
            let refused = refused(params(&format!("limit={value}")).limit());
            assert_eq!(refused, "limit must be from 1 to 100", "{value}");
        }
        for value in ["", "TRUE", "1", "yes"] {
            let refused = refused(params(&format!("completed={value}")).boolean("completed"));
            assert_eq!(refused, "completed must be true or false", "{value}");
        }
        let refused = refused(params("before=7").cursor("before", BeforeMessage::decode));
        assert_eq!(refused, "before must be a next_cursor of this list");
    }

    #[test]
    fn a_parameter_stands_there_once() {
        assert_eq!(
            refused(params("limit=1&limit=1").limit()),
            "limit must be given once"
        );
        assert_eq!(
            refused(params("search=a&search=b").text("search")),
            "search must be given once"
        );
    }

    #[test]
    fn a_cursor_is_read_by_its_list() {
        let cursor = BeforeMessage { seq: 7 };
        let params = params(&format!("before={}", cursor.encode()));
        assert_eq!(
            params.cursor("before", BeforeMessage::decode).unwrap(),
            Some(cursor)
        );
    }
}
