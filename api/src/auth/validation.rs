//! What may be stored of a person: e-mail, name and password. Every broken rule is told at once.

use crate::http::{error::ApiError, problem::FieldError};

/// Characters of an e-mail, at most.
const EMAIL_MAX_CHARS: usize = 254;
/// Characters of a name, at most.
const NAME_MAX_CHARS: usize = 100;
/// Characters of a password.
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
/// Bytes of a password, at most.
const PASSWORD_MAX_BYTES: usize = 512;

/// Collects the rules that a request breaks.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<FieldError>);

impl Rules {
    /// A new user's e-mail, without the space around it.
    pub(crate) fn email(&mut self, email: Option<&str>) -> String {
        let email = self.required("email", email).trim();
        let sound = email
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
            && !email
                .chars()
                .any(|char| char.is_whitespace() || char.is_control());
        self.hold("email", sound, "must be an e-mail address");
        self.hold(
            "email",
            email.chars().count() <= EMAIL_MAX_CHARS,
            "must have at most 254 characters",
        );
        email.to_owned()
    }

    /// A new user's name, without the space around it.
    pub(crate) fn name(&mut self, name: Option<&str>) -> String {
        let name = self.required("name", name).trim();
        let length = name.chars().count();
        self.hold(
            "name",
            (1..=NAME_MAX_CHARS).contains(&length),
            "must have 1 to 100 characters and not be blank",
        );
        self.hold(
            "name",
            !name.chars().any(char::is_control),
            "must not contain control characters",
        );
        name.to_owned()
    }

    /// A new user's password.
    pub(crate) fn new_password(&mut self, password: Option<&str>) -> String {
        let password = self.required("password", password);
        self.hold(
            "password",
            PASSWORD_CHARS.contains(&password.chars().count()),
            "must have 8 to 128 characters",
        );
        self.hold(
            "password",
            password.len() <= PASSWORD_MAX_BYTES,
            "must have at most 512 bytes",
        );
        self.hold("password", !password.contains('\0'), "must not contain U+0000");
        password.to_owned()
    }

    /// The e-mail of a login: what can't be one is nobody's, and is answered like any other that is nobody's.
    pub(crate) fn login_email(&mut self, email: Option<&str>) -> String {
        let email = self.required("email", email).trim();
        self.hold("email", !email.contains('\0'), "must not contain U+0000");
        self.hold(
            "email",
            email.chars().count() <= EMAIL_MAX_CHARS,
            "must have at most 254 characters",
        );
        email.to_owned()
    }

    /// The password of a login.
    pub(crate) fn login_password(&mut self, password: Option<&str>) -> String {
        let password = self.required("password", password);
        self.hold(
            "password",
            password.len() <= PASSWORD_MAX_BYTES,
            "must have at most 512 bytes",
        );
        password.to_owned()
    }

    /// Ends the check.
    pub(crate) fn held(self) -> Result<(), ApiError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ApiError::Invalid(self.0))
        }
    }

    fn required<'a>(&mut self, field: &str, value: Option<&'a str>) -> &'a str {
        self.hold(field, value.is_some(), "is required");
        value.unwrap_or_default()
    }

    /// Only the first broken rule of a field is told.
    fn hold(&mut self, field: &str, held: bool, rule: &str) {
        if !held && self.0.iter().all(|error| error.field != field) {
            self.0.push(FieldError::new(field, rule));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(check: impl FnOnce(&mut Rules) -> String) -> Option<String> {
        let mut rules = Rules::default();
        check(&mut rules);
        rules.0.into_iter().next().map(|error| error.message)
    }

    #[test]
    fn an_email_has_two_parts_and_nothing_strange() {
        for good in ["a@b", " ann@example.com ", "änn+x@exämple.com"] {
            assert_eq!(broken(|rules| rules.email(Some(good))), None, "{good:?}");
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
            assert!(broken(|rules| rules.email(Some(bad))).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_not_blank_and_short() {
        assert_eq!(broken(|rules| rules.name(Some(&"ä".repeat(100)))), None);
        for bad in ["", "  ", "a\u{0}", "a\nb", &"a".repeat(101)] {
            assert!(broken(|rules| rules.name(Some(bad))).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_has_8_to_128_characters_in_at_most_512_bytes() {
        for good in ["12345678", "        ", &"ä".repeat(128), &"😀".repeat(128)] {
            assert_eq!(broken(|rules| rules.new_password(Some(good))), None, "{good:?}");
        }
        for bad in ["1234567", "1234567\0", &"a".repeat(129), "ääää"] {
            assert!(broken(|rules| rules.new_password(Some(bad))).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn all_fields_that_break_a_rule_are_told_each_once() {
        let mut rules = Rules::default();
        rules.email(None);
        rules.name(Some(""));
        rules.new_password(Some("\0"));
        let Err(ApiError::Invalid(errors)) = rules.held() else {
            panic!("no rule broken")
        };
        let told: Vec<_> = errors
            .iter()
            .map(|error| (error.field.as_str(), error.message.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("email", "is required"),
                ("name", "must have 1 to 100 characters and not be blank"),
                ("password", "must have 8 to 128 characters"),
            ]
        );
    }
}
