//! Settings, keys and tokens for the tests of this module.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use errand_shared::service::config::Secret;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};

use crate::settings::AuthSettings;

pub(super) const SECRET: &str = "the secret of the tests, 32 bytes";
pub(super) const PREVIOUS: &str = "the secret before it, also 32 bytes";
pub(super) const RSA: &[u8] = include_bytes!("fixtures/test-only-rsa.private.pem");
pub(super) const EC: &[u8] = include_bytes!("fixtures/test-only-ec.private.pem");
pub(super) const ED25519: &[u8] = include_bytes!("fixtures/test-only-ed25519.private.pem");

/// A fixed time: no test reads the system clock.
pub(super) const NOW: i64 = 1_800_000_000;

pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).unwrap()
}

pub(super) fn settings() -> AuthSettings {
    AuthSettings {
        jwt_secret: None,
        jwt_secret_previous: None,
        jwt_public_key_file: None,
        jwt_jwks_file: None,
        jwt_issuer: "errand".to_owned(),
        jwt_audience: "errand".to_owned(),
        jwt_ttl_seconds: Duration::from_hours(1),
        refresh_ttl_seconds: Duration::from_hours(24),
        rate_limit_auth_per_minute: 0,
        password_hashes_at_once: 1,
    }
}

/// Settings with a secret: this API issues the tokens.
pub(super) fn own() -> AuthSettings {
    let secret = |text| Some(Secret::new(text));
    AuthSettings {
        jwt_secret: secret(SECRET),
        jwt_secret_previous: secret(PREVIOUS),
        ..settings()
    }
}

/// Settings with a public key: an external identity provider issues the tokens.
pub(super) fn external(name: &str) -> AuthSettings {
    AuthSettings {
        jwt_public_key_file: Some(fixture(name)),
        ..settings()
    }
}

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/auth/fixtures")
        .join(name)
}

/// A file that is deleted at the end of the test.
#[derive(Debug)]
pub(super) struct TemporaryFile(pub(super) PathBuf);

impl TemporaryFile {
    pub(super) fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("errand-keys-{}", errand_shared::Uuid::now_v7()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // A leftover file in the temporary folder is harmless.
        drop(std::fs::remove_file(&self.0));
    }
}

/// The signing key for this algorithm.
pub(super) fn signing_key(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => EncodingKey::from_rsa_pem(RSA).unwrap(),
        Algorithm::ES256 => EncodingKey::from_ec_pem(EC).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(ED25519).unwrap(),
        _ => EncodingKey::from_secret(SECRET.as_bytes()),
    }
}

/// The public key for [`signing_key`], with this key id.
pub(super) fn jwk(algorithm: Algorithm, kid: Option<&str>) -> Value {
    let mut jwk =
        serde_json::to_value(Jwk::from_encoding_key(&signing_key(algorithm), algorithm).unwrap()).unwrap();
    if let Some(kid) = kid {
        jwk["kid"] = json!(kid);
    }
    jwk
}

/// Valid claims with these changes; null removes a claim.
pub(super) fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "errand",
        "aud": "errand",
        "sub": "0190a0a0-0000-7000-8000-000000000001",
        "role": "user",
        "iat": NOW,
        "exp": NOW + 3600,
    });
    let Value::Object(changes) = changes else {
        panic!("changes are an object")
    };
    for (name, value) in changes {
        if value.is_null() {
            claims.as_object_mut().unwrap().shift_remove(&name);
        } else {
            claims[name] = value;
        }
    }
    claims
}

pub(super) fn sign(algorithm: Algorithm, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &signing_key(algorithm)).unwrap()
}

/// A token with this header, signed with our secret whatever the header says.
pub(super) fn sign_with_header(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(
        message.as_bytes(),
        &signing_key(Algorithm::HS256),
        Algorithm::HS256,
    )
    .unwrap();
    format!("{message}.{signature}")
}
