//! Access tokens (JWT, RFC 7519): verifies their claims and issues our own.
//!
//! This module does not use the database. Whether the user still exists is checked elsewhere.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use errand_shared::{Uuid, service::config::Exit};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode, errors::ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::{identity::Role, keys::Keys};
use crate::{http::error::ApiError, settings::AuthSettings};

/// How far the clock of the issuer may differ from ours.
const LEEWAY: TimeDelta = TimeDelta::seconds(10);
const SUBJECT_MAX_CHARS: usize = 255;
const NAME_MAX_CHARS: usize = 100;

const INVALID: &str = "The token is not valid.";
const EXPIRED: &str = "The token has expired.";
const NOT_YET: &str = "The token is not valid yet.";

/// The subject of a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A user who registered here.
    Own(Uuid),
    /// A user of the external identity provider.
    External {
        /// The provider's id of the user.
        subject: String,
        /// The name to store if the user is new.
        name: String,
    },
}

/// The claims of a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VerifiedClaims {
    pub(super) subject: Subject,
    pub(super) role: Role,
    pub(super) expires_at: DateTime<Utc>,
}

/// Verifies and issues tokens.
pub(super) struct Tokens {
    keys: Keys,
    issuer: String,
    audience: String,
}

#[derive(Deserialize)]
struct Claims {
    // Checked by the library, which would also accept a list. This type does not.
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

    pub(super) const fn is_external(&self) -> bool {
        matches!(self.keys, Keys::External(_))
    }

    /// Verifies a token at this time. The error is the reason for the caller.
    pub(super) fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<VerifiedClaims, &'static str> {
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
        if self.is_external() {
            // Other roles of the provider are ignored.
            let role = role.unwrap_or(Role::User);
            Ok(VerifiedClaims {
                subject: external_subject(claims)?,
                role,
                expires_at,
            })
        } else {
            let user_id = claims.sub.parse().map_err(|_not_uuid| INVALID)?;
            Ok(VerifiedClaims {
                subject: Subject::Own(user_id),
                role: role.ok_or(INVALID)?,
                expires_at,
            })
        }
    }

    fn signed_claims(&self, token: &str) -> Result<Claims, &'static str> {
        let header = decode_header(token).map_err(|_malformed| INVALID)?;
        // RFC 7515, 4.1.11: a token with an unsupported extension is invalid, and no extension is supported.
        if header.crit.is_some() {
            return Err(INVALID);
        }
        for (key, algorithm) in self.keys.for_token(&header) {
            match decode::<Claims>(token, key, &self.validation(algorithm)) {
                Ok(token) => return Ok(token.claims),
                // The previous secret may have signed it.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(_bad) => return Err(INVALID),
            }
        }
        Err(INVALID)
    }

    /// The checks of the library. Times are checked separately, against our own clock.
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
            return Err(issued_externally());
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

/// The error of routes that issue tokens, if an external identity provider does that.
pub(super) fn issued_externally() -> ApiError {
    ApiError::NotFound("An external identity provider issues the tokens; get one there.".to_owned())
}

/// A `NumericDate`: seconds, which may have a fraction.
fn time(seconds: &Number) -> Option<DateTime<Utc>> {
    let whole = match seconds.as_u64() {
        Some(whole) => whole,
        None => Duration::try_from_secs_f64(seconds.as_f64()?).ok()?.as_secs(),
    };
    // Adding the leeway must not overflow.
    DateTime::from_timestamp(i64::try_from(whole).ok()?, 0)
        .filter(|time| time.checked_add_signed(LEEWAY).is_some())
}

fn external_subject(claims: Claims) -> Result<Subject, &'static str> {
    let subject = claims.sub;
    if subject.is_empty() || subject.contains('\0') || subject.chars().count() > SUBJECT_MAX_CHARS {
        return Err(INVALID);
    }
    let text = |claim: &Option<Value>| claim.as_ref().and_then(Value::as_str).and_then(clean_name);
    let name = text(&claims.name)
        .or_else(|| text(&claims.email))
        .or_else(|| clean_name(&subject))
        .unwrap_or_else(|| "?".to_owned());
    Ok(Subject::External { subject, name })
}

/// A name without control characters. None if it is blank.
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
