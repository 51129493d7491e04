use serde_json::{Value, json};

use super::*;
use crate::auth::fixtures::{TemporaryFile, fixture, jwk, outside, own, settings};

/// The line that a program with these settings ends with.
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
fn secrets_are_long_and_one_is_required() {
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
fn there_is_one_issuer() {
    let pem = Some(fixture("test-only-ec.public.pem"));
    let both = AuthSettings {
        jwt_public_key_file: pem.clone(),
        ..own()
    };
    assert!(refusal(&both).starts_with("error: JWT_PUBLIC_KEY_FILE: stands instead of JWT_SECRET"));
    let both = AuthSettings {
        jwt_jwks_file: pem.clone(),
        ..own()
    };
    assert!(refusal(&both).starts_with("error: JWT_JWKS_FILE: stands instead of JWT_SECRET"));
    let both = AuthSettings {
        jwt_jwks_file: pem.clone(),
        jwt_public_key_file: pem,
        ..settings()
    };
    assert!(refusal(&both).starts_with("error: JWT_JWKS_FILE: stands instead of JWT_PUBLIC_KEY_FILE"));
}

#[test]
fn a_public_key_file_holds_one_strong_public_key() {
    for name in [
        "test-only-rsa.public.pem",
        "test-only-ec.public.pem",
        "test-only-ed25519.public.pem",
    ] {
        assert_eq!(refusal(&outside(name)), "ok", "{name}");
    }
    for name in [
        "test-only-rsa-1024.public.pem",
        "test-only-ec-p384.public.pem",
        "test-only-ec-secp256k1.public.pem",
        "../fixtures.rs",
    ] {
        let text = refusal(&outside(name));
        assert!(
            text.starts_with("error: JWT_PUBLIC_KEY_FILE: must hold one public key"),
            "{name}: {text}"
        );
    }
    assert!(refusal(&outside("test-only-rsa.private.pem")).contains("holds a private key"));
    assert_eq!(
        refusal(&outside("no-such-file")),
        "error: JWT_PUBLIC_KEY_FILE: the file it names can't be read: entity not found"
    );
}

#[test]
fn a_key_set_holds_public_keys_that_can_be_told_apart() {
    let ec = |kid| jwk(Algorithm::ES256, kid);
    let with = |mut jwk: Value, name: &str, value: &str| {
        jwk[name] = json!(value);
        jwk
    };
    assert_eq!(of_set(&[ec(None)]), "ok");
    assert_eq!(of_set(&[ec(Some("a")), jwk(Algorithm::EdDSA, Some("b"))]), "ok");
    // What is meant for something else is passed over.
    let elsewhere = [
        with(ec(Some("a")), "use", "enc"),
        with(jwk(Algorithm::RS256, Some("b")), "alg", "PS256"),
    ];
    assert_eq!(of_set(&[&elsewhere[..], &[ec(Some("c"))]].concat()), "ok");
    assert!(of_set(&elsewhere).contains("holds no key"));
    assert!(of_set(&[]).contains("holds no key"));
    assert!(of_set(&[ec(Some("a")), jwk(Algorithm::EdDSA, Some("a"))]).contains("two keys with the same"));
    assert!(of_set(&[ec(None), jwk(Algorithm::EdDSA, None)]).contains("two keys with the same"));
    assert!(of_set(&[ec(None), jwk(Algorithm::EdDSA, Some("a"))]).contains("one has no `kid`"));
    assert!(of_set(&[jwk(Algorithm::HS256, Some("a"))]).contains("holds a secret key"));
    let small = with(jwk(Algorithm::RS256, Some("a")), "n", &"A".repeat(171));
    assert!(of_set(&[small]).contains("holds no key"));
    let file = TemporaryFile::new("no set");
    let text = refusal(&AuthSettings {
        jwt_jwks_file: Some(file.0.clone()),
        ..settings()
    });
    assert_eq!(
        text,
        "error: JWT_JWKS_FILE: must hold a JSON Web Key Set (RFC 7517)"
    );
}
