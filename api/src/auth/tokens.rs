//! Access tokens (JWT, RFC 7519): what one must say to count, and how ours are made.
//!
//! It knows no database: whether the user still exists is asked elsewhere.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use errand_shared::{Uuid, service::config::Exit};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode, errors::ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::{Role, keys::Keys};
use crate::{http::error::ApiError, settings::AuthSettings};

/// How far the clocks of issuer and reader may differ.
const LEEWAY: TimeDelta = TimeDelta::seconds(10);
/// Characters of an outside subject, at most.
const SUBJECT_MAX_CHARS: usize = 255;
/// Characters of a user's name, at most.
const NAME_MAX_CHARS: usize = 100;

const INVALID: &str = "The token is not valid.";
const EXPIRED: &str = "The token has expired.";
const NOT_YET: &str = "The token is not valid yet.";

/// Whom a good token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A user of ours.
    Own(Uuid),
    /// A user of the outside identity provider.
    Outside {
        /// What the provider calls them.
        subject: String,
        /// What they are called if they are new here.
        name: String,
    },
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) subject: Subject,
    pub(super) role: Role,
    pub(super) expires_at: DateTime<Utc>,
}

/// Reads and makes tokens.
pub(super) struct Tokens {
    keys: Keys,
    issuer: String,
    audience: String,
}

#[derive(Deserialize)]
struct Claims {
    // Also checked against the settings; a list, which the library would take, is refused by this type.
    #[serde(rename = "iss")]
    _issuer: String,
    sub: String,
    exp: Number,
    nbf: Option<Number>,
    role: Option<Value>,
    name: Option<Value>,
    email: Option<Value>,
}

#[derive(Serialize)]
struct NewClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: Uuid,
    role: Role,
    iat: i64,
    exp: i64,
}

impl Tokens {
    pub(super) fn new(settings: &AuthSettings) -> Result<Self, Exit> {
        Ok(Self {
            keys: Keys::new(settings)?,
            issuer: settings.jwt_issuer.clone(),
            audience: settings.jwt_audience.clone(),
        })
    }

    pub(super) const fn is_outside(&self) -> bool {
        matches!(self.keys, Keys::Outside(_))
    }

    /// What a token says at this time, or why it does not count.
    pub(super) fn check(&self, token: &str, now: DateTime<Utc>) -> Result<Checked, &'static str> {
        let claims = self.signed_claims(token)?;
        let expires_at = time(&claims.exp).ok_or(INVALID)?;
        if now >= expires_at + LEEWAY {
            return Err(EXPIRED);
        }
        if let Some(not_before) = &claims.nbf
            && now + LEEWAY < time(not_before).ok_or(INVALID)?
        {
            return Err(NOT_YET);
        }
        let role = claims
            .role
            .as_ref()
            .and_then(Value::as_str)
            .and_then(Role::from_name);
        if self.is_outside() {
            // The provider's other roles mean nothing here.
            let role = role.unwrap_or(Role::User);
            Ok(Checked {
                subject: outside_subject(claims)?,
                role,
                expires_at,
            })
        } else {
            let user_id = claims.sub.parse().map_err(|_not_uuid| INVALID)?;
            Ok(Checked {
                subject: Subject::Own(user_id),
                role: role.ok_or(INVALID)?,
                expires_at,
            })
        }
    }

    fn signed_claims(&self, token: &str) -> Result<Claims, &'static str> {
        let header = decode_header(token).map_err(|_malformed| INVALID)?;
        // RFC 7515, 4.1.11: an extension that is not understood makes the token invalid, and none is.
        if header.crit.is_some() {
            return Err(INVALID);
        }
        for (key, algorithm) in self.keys.for_token(&header) {
            match decode::<Claims>(token, key, &self.validation(algorithm)) {
                Ok(token) => return Ok(token.claims),
                // Perhaps the secret before signed it.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(_bad) => return Err(INVALID),
            }
        }
        Err(INVALID)
    }

    /// What the library checks; time is checked by our own clock.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "sub", "iss", "aud"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }

    pub(super) fn issue(
        &self,
        user_id: Uuid,
        role: Role,
        now: DateTime<Utc>,
        ttl: Duration,
    ) -> Result<String, ApiError> {
        let Keys::Own { signing, .. } = &self.keys else {
            return Err(issued_elsewhere());
        };
        let issued_at = now.timestamp();
        let claims = NewClaims {
            iss: &self.issuer,
            aud: &self.audience,
            sub: user_id,
            role,
            iat: issued_at,
            exp: issued_at.saturating_add_unsigned(ttl.as_secs()),
        };
        encode(&Header::new(Algorithm::HS256), &claims, signing).map_err(ApiError::internal)
    }
}

/// The answer of a route that gives out tokens when those come from elsewhere.
pub(super) fn issued_elsewhere() -> ApiError {
    ApiError::NotFound("An outside identity provider issues the tokens; ask it for one.".to_owned())
}

/// A `NumericDate`: seconds, perhaps with a fraction.
fn time(seconds: &Number) -> Option<DateTime<Utc>> {
    let whole = match seconds.as_u64() {
        Some(whole) => whole,
        None => Duration::try_from_secs_f64(seconds.as_f64()?).ok()?.as_secs(),
    };
    // The leeway must not run over the end of time.
    DateTime::from_timestamp(i64::try_from(whole).ok()?, 0)
        .filter(|time| time.checked_add_signed(LEEWAY).is_some())
}

fn outside_subject(claims: Claims) -> Result<Subject, &'static str> {
    let subject = claims.sub;
    if subject.is_empty() || subject.contains('\0') || subject.chars().count() > SUBJECT_MAX_CHARS {
        return Err(INVALID);
    }
    let text = |claim: &Option<Value>| claim.as_ref().and_then(Value::as_str).and_then(clean_name);
    let name = text(&claims.name)
        .or_else(|| text(&claims.email))
        .or_else(|| clean_name(&subject))
        .unwrap_or_else(|| "?".to_owned());
    Ok(Subject::Outside { subject, name })
}

/// A name that can be stored, if anything of it is left.
fn clean_name(name: &str) -> Option<String> {
    let name: String = name
        .trim()
        .chars()
        .filter(|char| !char.is_control())
        .take(NAME_MAX_CHARS)
        .collect();
    (!name.trim().is_empty()).then_some(name)
}

#[cfg(test)]
mod tests;
