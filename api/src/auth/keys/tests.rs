use serde_json::{Value, json};

use super::*;
use crate::auth::fixtures::{TemporaryFile, external, fixture, jwk, own, settings};

/// The error line for these settings, or `ok`.
fn refusal(settings: &AuthSettings) -> String {
    match Keys::new(settings) {
        Ok(_) => "ok".to_owned(),
        Err(exit) => {
            assert_eq!((exit.code, exit.text.matches('\n').count()), (2, 1));
            exit.text.trim_end().to_owned()
        }
    }
}

fn of_set(keys: &[Value]) -> String {
    let file = TemporaryFile::new(&json!({ "keys": keys }).to_string());
    refusal(&AuthSettings {
        jwt_jwks_file: Some(file.0.clone()),
        ..settings()
    })
}

#[test]
fn a_long_secret_is_required() {
    let secret = |text: &str| Some(Secret::new(text));
    assert_eq!(refusal(&own()), "ok");
    assert!(refusal(&settings()).starts_with("error: JWT_SECRET: required"));
    let short = AuthSettings {
        jwt_secret: secret(&"s".repeat(31)),
        ..settings()
    };
    assert_eq!(refusal(&short), "error: JWT_SECRET: must have at least 32 bytes");
    let short = AuthSettings {
        jwt_secret_previous: secret("short"),
        ..own()
    };
    assert_eq!(
        refusal(&short),
        "error: JWT_SECRET_PREVIOUS: must have at least 32 bytes"
    );
}

#[test]
fn only_one_issuer_may_be_configured() {
    let pem = Some(fixture("test-only-ec.public.pem"));
    let both = AuthSettings {
        jwt_public_key_file: pem.clone(),
        ..own()
    };
    assert!(refusal(&both).starts_with("error: JWT_PUBLIC_KEY_FILE: replaces JWT_SECRET"));
    let both = AuthSettings {
        jwt_jwks_file: pem.clone(),
        ..own()
    };
    assert!(refusal(&both).starts_with("error: JWT_JWKS_FILE: replaces JWT_SECRET"));
    let both = AuthSettings {
        jwt_jwks_file: pem.clone(),
        jwt_public_key_file: pem,
        ..settings()
    };
    assert!(refusal(&both).starts_with("error: JWT_JWKS_FILE: replaces JWT_PUBLIC_KEY_FILE"));
}

#[test]
fn a_public_key_file_contains_one_strong_public_key() {
    for name in [
        "test-only-rsa.public.pem",
        "test-only-ec.public.pem",
        "test-only-ed25519.public.pem",
    ] {
        assert_eq!(refusal(&external(name)), "ok", "{name}");
    }
    for name in [
        "test-only-rsa-1024.public.pem",
        "test-only-ec-p384.public.pem",
        "test-only-ec-secp256k1.public.pem",
        "../fixtures.rs",
    ] {
        let text = refusal(&external(name));
        assert!(
            text.starts_with("error: JWT_PUBLIC_KEY_FILE: must contain one public key"),
            "{name}: {text}"
        );
    }
    assert!(refusal(&external("test-only-rsa.private.pem")).contains("contains a private key"));
    assert_eq!(
        refusal(&external("no-such-file")),
        "error: JWT_PUBLIC_KEY_FILE: cannot read the file: entity not found"
    );
}

#[test]
fn a_key_set_contains_public_keys_with_different_ids() {
    let ec = |kid| jwk(Algorithm::ES256, kid);
    let with = |mut jwk: Value, name: &str, value: &str| {
        jwk[name] = json!(value);
        jwk
    };
    assert_eq!(of_set(&[ec(None)]), "ok");
    assert_eq!(of_set(&[ec(Some("a")), jwk(Algorithm::EdDSA, Some("b"))]), "ok");
    // Keys for other purposes are ignored.
    let elsewhere = [
        with(ec(Some("a")), "use", "enc"),
        with(jwk(Algorithm::RS256, Some("b")), "alg", "PS256"),
    ];
    assert_eq!(of_set(&[&elsewhere[..], &[ec(Some("c"))]].concat()), "ok");
    assert!(of_set(&elsewhere).contains("contains no key"));
    assert!(of_set(&[]).contains("contains no key"));
    assert!(of_set(&[ec(Some("a")), jwk(Algorithm::EdDSA, Some("a"))]).contains("two keys with the same"));
    assert!(of_set(&[ec(None), jwk(Algorithm::EdDSA, None)]).contains("two keys with the same"));
    assert!(of_set(&[ec(None), jwk(Algorithm::EdDSA, Some("a"))]).contains("one of which has no `kid`"));
    assert!(of_set(&[jwk(Algorithm::HS256, Some("a"))]).contains("contains a secret key"));
    let small = with(jwk(Algorithm::RS256, Some("a")), "n", &"A".repeat(171));
    assert!(of_set(&[small]).contains("contains no key"));
    let file = TemporaryFile::new("no set");
    let text = refusal(&AuthSettings {
        jwt_jwks_file: Some(file.0.clone()),
        ..settings()
    });
    assert_eq!(
        text,
        "error: JWT_JWKS_FILE: must contain a JSON Web Key Set (RFC 7517)"
    );
}
