//! Reads query strings. An invalid value is a 422 that names its parameter.
//!
//! Unknown parameters are ignored. A known parameter may appear only once.

use axum::{
    extract::{FromRequestParts, Query as Pairs},
    http::{Uri, request::Parts},
};
use errand_task_tools::rules;

use super::error::ApiError;

/// The parameters of a query string, as a handler's own type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// A type that can be read from a query string.
pub(crate) trait FromQuery: Sized {
    /// # Errors
    /// [`ApiError::Invalid`] for the first invalid parameter.
    fn from_query(params: &Params) -> Result<Self, ApiError>;
}

impl<S: Send + Sync, T: FromQuery> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        T::from_query(&Params::of(&parts.uri)?).map(Self)
    }
}

/// The parameters of a query string, decoded.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// # Errors
    /// If the query string is malformed.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        let Pairs(pairs) = Pairs::try_from_uri(uri).map_err(|rejection| {
            ApiError::invalid("", format!("the query string is malformed: {rejection}"))
        })?;
        Ok(Self(pairs))
    }

    /// The decoded value of a parameter.
    ///
    /// # Errors
    /// If the parameter appears more than once. This is true for all methods below.
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

    /// # Errors
    /// If the value is not `true` or `false`.
    pub(crate) fn boolean(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        self.parsed(name, "must be true or false", |text| text.parse().ok())
    }

    /// # Errors
    /// If the value is not a whole number of 64 bits.
    pub(crate) fn integer(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        self.parsed(name, "must be a whole number", |text| text.parse().ok())
    }

    /// A cursor of a list.
    ///
    /// # Errors
    /// If the cursor is malformed or of another list.
    pub(crate) fn cursor<T>(
        &self,
        name: &'static str,
        decode: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        self.parsed(name, "must be a next_cursor of this list", decode)
    }

    /// The page size from `limit`: 1 to 100, by default 50.
    ///
    /// # Errors
    /// If the value is out of range.
    pub(crate) fn limit(&self) -> Result<i64, ApiError> {
        Ok(rules::limit(self.integer("limit")?)?)
    }

    /// A value that `parse` accepts.
    ///
    /// # Errors
    /// `rule`, if `parse` returns none.
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
    fn an_absent_parameter_is_none() {
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
    fn an_error_names_the_invalid_parameter() {
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
    fn a_parameter_may_appear_only_once() {
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
    fn a_cursor_is_decoded_by_its_list() {
        let cursor = BeforeMessage { seq: 7 };
        let params = params(&format!("before={}", cursor.encode()));
        assert_eq!(
            params.cursor("before", BeforeMessage::decode).unwrap(),
            Some(cursor)
        );
    }
}
