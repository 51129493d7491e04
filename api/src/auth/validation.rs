//! Validates e-mail addresses, names and passwords. All invalid fields are reported together.

use crate::http::error::{ApiError, FieldError};

const EMAIL_MAX_CHARS: usize = 254;
const NAME_MAX_CHARS: usize = 100;
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
const PASSWORD_MAX_BYTES: usize = 512;

/// Collects the invalid fields of a request.
#[derive(Debug, Default)]
pub(crate) struct Validation(Vec<FieldError>);

impl Validation {
    /// The trimmed e-mail address of a new user.
    pub(crate) fn email(&mut self, email: Option<&str>) -> String {
        let email = self.required("email", email).trim();
        let is_valid = email
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
            && !email
                .chars()
                .any(|char| char.is_whitespace() || char.is_control());
        self.require("email", is_valid, "must be an e-mail address");
        self.require(
            "email",
            email.chars().count() <= EMAIL_MAX_CHARS,
            "must have at most 254 characters",
        );
        email.to_owned()
    }

    /// The trimmed name of a new user.
    pub(crate) fn name(&mut self, name: Option<&str>) -> String {
        let name = self.required("name", name).trim();
        let length = name.chars().count();
        self.require(
            "name",
            (1..=NAME_MAX_CHARS).contains(&length),
            "must have 1 to 100 characters and not be blank",
        );
        self.require(
            "name",
            !name.chars().any(char::is_control),
            "must not contain control characters",
        );
        name.to_owned()
    }

    pub(crate) fn new_password(&mut self, password: Option<&str>) -> String {
        let password = self.required("password", password);
        self.require(
            "password",
            PASSWORD_CHARS.contains(&password.chars().count()),
            "must have 8 to 128 characters",
        );
        self.require(
            "password",
            password.len() <= PASSWORD_MAX_BYTES,
            "must have at most 512 bytes",
        );
        self.require("password", !password.contains('\0'), "must not contain U+0000");
        password.to_owned()
    }

    /// The e-mail address of a login. An address that could not be registered is treated like an unknown one.
    pub(crate) fn login_email(&mut self, email: Option<&str>) -> String {
        let email = self.required("email", email).trim();
        self.require("email", !email.contains('\0'), "must not contain U+0000");
        self.require(
            "email",
            email.chars().count() <= EMAIL_MAX_CHARS,
            "must have at most 254 characters",
        );
        email.to_owned()
    }

    pub(crate) fn login_password(&mut self, password: Option<&str>) -> String {
        let password = self.required("password", password);
        self.require(
            "password",
            password.len() <= PASSWORD_MAX_BYTES,
            "must have at most 512 bytes",
        );
        password.to_owned()
    }

    /// # Errors
    /// [`ApiError::Invalid`] if any field is invalid.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ApiError::Invalid(self.0))
        }
    }

    fn required<'a>(&mut self, field: &str, value: Option<&'a str>) -> &'a str {
        self.require(field, value.is_some(), "is required");
        value.unwrap_or_default()
    }

    /// Only the first broken rule of a field is reported.
    fn require(&mut self, field: &str, is_valid: bool, rule: &str) {
        if !is_valid && self.0.iter().all(|error| error.field != field) {
            self.0.push(FieldError::new(field, rule));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken_rule(check: impl FnOnce(&mut Validation) -> String) -> Option<String> {
        let mut rules = Validation::default();
        check(&mut rules);
        rules.0.into_iter().next().map(|error| error.message)
    }

    #[test]
    fn an_email_has_two_parts_and_no_whitespace() {
        for good in ["a@b", " ann@example.com ", "änn+x@exämple.com"] {
            assert_eq!(broken_rule(|rules| rules.email(Some(good))), None, "{good:?}");
        }
        let long = format!("{}@b", "a".repeat(253));
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a\0@b",
            "ann",
            long.as_str(),
        ] {
            assert!(broken_rule(|rules| rules.email(Some(bad))).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_has_1_to_100_characters() {
        assert_eq!(broken_rule(|rules| rules.name(Some(&"ä".repeat(100)))), None);
        for bad in ["", "  ", "a\u{0}", "a\nb", &"a".repeat(101)] {
            assert!(broken_rule(|rules| rules.name(Some(bad))).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_has_8_to_128_characters_in_at_most_512_bytes() {
        for good in ["12345678", "        ", &"ä".repeat(128), &"😀".repeat(128)] {
            assert_eq!(
                broken_rule(|rules| rules.new_password(Some(good))),
                None,
                "{good:?}"
            );
        }
        for bad in ["1234567", "1234567\0", &"a".repeat(129), "ääää"] {
            assert!(
                broken_rule(|rules| rules.new_password(Some(bad))).is_some(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn every_invalid_field_is_reported_once() {
        let mut rules = Validation::default();
        rules.email(None);
        rules.name(Some(""));
        rules.new_password(Some("\0"));
        let Err(ApiError::Invalid(errors)) = rules.finish() else {
            panic!("expected invalid fields")
        };
        let reported: Vec<_> = errors
            .iter()
            .map(|error| (error.field.as_str(), error.message.as_str()))
            .collect();
        assert_eq!(
            reported,
            [
                ("email", "is required"),
                ("name", "must have 1 to 100 characters and not be blank"),
                ("password", "must have 8 to 128 characters"),
            ]
        );
    }
}
