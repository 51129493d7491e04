use jsonwebtoken::EncodingKey;
use serde_json::json;

use super::*;
use crate::auth::fixtures::{
    NOW, PREVIOUS, SECRET, TemporaryFile, claims, external, jwk, now, own, settings, sign, sign_with_header,
};

fn check(settings: &AuthSettings, token: &str) -> Result<VerifiedClaims, &'static str> {
    Tokens::new(settings).unwrap().verify(token, now())
}

fn user_id() -> Uuid {
    "0190a0a0-0000-7000-8000-000000000001".parse().unwrap()
}

#[test]
fn an_issued_token_is_valid() {
    let tokens = Tokens::new(&own()).unwrap();
    let token = tokens
        .issue(user_id(), Role::Admin, now(), Duration::from_mins(1))
        .unwrap();
    let expires_at = now() + TimeDelta::seconds(60);
    let expected = VerifiedClaims {
        subject: Subject::Own(user_id()),
        role: Role::Admin,
        expires_at,
    };
    assert_eq!(tokens.verify(&token, now()), Ok(expected.clone()));
    assert_eq!(
        tokens.verify(&token, expires_at + TimeDelta::seconds(9)),
        Ok(expected)
    );
    assert_eq!(
        tokens.verify(&token, expires_at + TimeDelta::seconds(10)),
        Err(EXPIRED)
    );
}

#[test]
fn a_token_with_an_invalid_claim_is_rejected() {
    let cases = [
        ("as they are", json!({}), Ok(())),
        ("expired within the leeway", json!({"exp": NOW - 9}), Ok(())),
        ("expired", json!({"exp": NOW - 10}), Err(EXPIRED)),
        ("expired in the year 1970", json!({"exp": 1}), Err(EXPIRED)),
        ("a fraction of a second", json!({"exp": 1_800_000_000.5}), Ok(())),
        ("no exp", json!({"exp": null}), Err(INVALID)),
        ("exp is text", json!({"exp": "1900000000"}), Err(INVALID)),
        ("exp before 1970", json!({"exp": -1}), Err(INVALID)),
        ("exp beyond all time", json!({"exp": u64::MAX}), Err(INVALID)),
        ("exp beyond all numbers", json!({"exp": 1e300}), Err(INVALID)),
        ("begins within the leeway", json!({"nbf": NOW + 10}), Ok(())),
        ("begins later", json!({"nbf": NOW + 11}), Err(NOT_YET)),
        ("nbf is text", json!({"nbf": "now"}), Err(INVALID)),
        ("another issuer", json!({"iss": "mallory"}), Err(INVALID)),
        ("several issuers", json!({"iss": ["errand"]}), Err(INVALID)),
        ("no iss", json!({"iss": null}), Err(INVALID)),
        (
            "one of several audiences",
            json!({"aud": ["other", "errand"]}),
            Ok(()),
        ),
        ("another audience", json!({"aud": "other"}), Err(INVALID)),
        ("no audience", json!({"aud": []}), Err(INVALID)),
        ("no aud", json!({"aud": null}), Err(INVALID)),
        ("no sub", json!({"sub": null}), Err(INVALID)),
        ("sub is no UUID", json!({"sub": "ann"}), Err(INVALID)),
        ("sub is a number", json!({"sub": 1}), Err(INVALID)),
        ("an admin", json!({"role": "admin"}), Ok(())),
        ("no role", json!({"role": null}), Err(INVALID)),
        ("an unknown role", json!({"role": "root"}), Err(INVALID)),
        ("role is a list", json!({"role": ["admin"]}), Err(INVALID)),
    ];
    for (what, changes, expected) in cases {
        let token = sign(Algorithm::HS256, &claims(changes));
        assert_eq!(check(&own(), &token).map(drop), expected, "{what}");
    }
}

#[test]
fn a_token_with_an_invalid_header_is_rejected() {
    let cases = [
        ("as it is", json!({"alg": "HS256", "typ": "JWT"}), true),
        ("no typ", json!({"alg": "HS256"}), true),
        (
            "a kid that we do not use",
            json!({"alg": "HS256", "kid": "1"}),
            true,
        ),
        ("alg none", json!({"alg": "none"}), false),
        ("alg None", json!({"alg": "None"}), false),
        ("no alg", json!({"typ": "JWT"}), false),
        ("HS384 over the same secret", json!({"alg": "HS384"}), false),
        ("RS256", json!({"alg": "RS256"}), false),
        (
            "crit",
            json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
            false,
        ),
        ("empty crit", json!({"alg": "HS256", "crit": []}), false),
        ("crit is text", json!({"alg": "HS256", "crit": "exp"}), false),
    ];
    for (what, header, good) in cases {
        let token = sign_with_header(&header, &claims(json!({})));
        assert_eq!(check(&own(), &token).is_ok(), good, "{what}");
    }
}

#[test]
fn malformed_tokens_are_rejected() {
    let good = sign(Algorithm::HS256, &claims(json!({})));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let unsigned = sign_with_header(&json!({"alg": "none"}), &claims(json!({})));
    let unsigned = unsigned.rsplit_once('.').unwrap().0;
    let cases = [
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        message.to_owned(),
        format!("{message}."),
        format!("{unsigned}."),
        format!("{message}.{}", signature.chars().rev().collect::<String>()),
        format!("{good}.{signature}"),
        format!(" {good}"),
        format!("{good}="),
        "é.é.é".to_owned(),
    ];
    for token in cases {
        assert_eq!(check(&own(), &token), Err(INVALID), "{token:?}");
    }
}

#[test]
fn the_previous_secret_still_verifies_tokens() {
    let sign = |secret: &str| {
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::new(Algorithm::HS256), &claims(json!({})), &key).unwrap()
    };
    assert!(check(&own(), &sign(SECRET)).is_ok());
    assert!(check(&own(), &sign(PREVIOUS)).is_ok());
    assert_eq!(
        check(&own(), &sign("mallory's secret is also 32 bytes")),
        Err(INVALID)
    );
    // Only the new secret signs.
    let without_previous = AuthSettings {
        jwt_secret_previous: None,
        ..own()
    };
    let issued = Tokens::new(&own())
        .unwrap()
        .issue(user_id(), Role::User, now(), Duration::from_mins(1));
    assert!(check(&without_previous, &issued.unwrap()).is_ok());
}

#[test]
fn a_public_key_verifies_only_its_own_algorithm() {
    let keys = [
        ("test-only-rsa.public.pem", Algorithm::RS256),
        ("test-only-ec.public.pem", Algorithm::ES256),
        ("test-only-ed25519.public.pem", Algorithm::EdDSA),
    ];
    let algorithms = [
        Algorithm::HS256,
        Algorithm::RS256,
        Algorithm::PS256,
        Algorithm::ES256,
        Algorithm::EdDSA,
    ];
    for (file, its_own) in keys {
        for algorithm in algorithms {
            let token = sign(algorithm, &claims(json!({})));
            assert_eq!(
                check(&external(file), &token).is_ok(),
                algorithm == its_own,
                "{file}, {algorithm:?}"
            );
        }
        // A well-known attack: the public key is used as an HMAC secret.
        let public = std::fs::read(crate::auth::fixtures::fixture(file)).unwrap();
        let key = EncodingKey::from_secret(&public);
        let token = encode(&Header::new(Algorithm::HS256), &claims(json!({})), &key).unwrap();
        assert_eq!(check(&external(file), &token), Err(INVALID), "{file}");
    }
}

#[test]
fn keys_of_a_set_are_selected_by_key_id() {
    let set = json!({"keys": [
        jwk(Algorithm::RS256, Some("rsa")), jwk(Algorithm::ES256, Some("ec")), jwk(Algorithm::EdDSA, Some("ed")),
    ]});
    let file = TemporaryFile::new(&set.to_string());
    let settings = AuthSettings {
        jwt_jwks_file: Some(file.0.clone()),
        ..settings()
    };
    let sign = |algorithm, kid: Option<&str>| {
        let header = Header {
            kid: kid.map(str::to_owned),
            ..Header::new(algorithm)
        };
        encode(
            &header,
            &claims(json!({})),
            &crate::auth::fixtures::signing_key(algorithm),
        )
        .unwrap()
    };
    let cases = [
        (Algorithm::RS256, Some("rsa"), true),
        (Algorithm::ES256, Some("ec"), true),
        (Algorithm::EdDSA, Some("ed"), true),
        (Algorithm::RS256, Some("ec"), false),
        (Algorithm::PS256, Some("rsa"), false),
        (Algorithm::RS256, Some("gone"), false),
        (Algorithm::RS256, None, false),
    ];
    for (algorithm, kid, good) in cases {
        assert_eq!(
            check(&settings, &sign(algorithm, kid)).is_ok(),
            good,
            "{algorithm:?} {kid:?}"
        );
    }
}

#[test]
fn a_single_key_needs_no_key_id() {
    for kid in [None, Some("only")] {
        let file = TemporaryFile::new(&json!({"keys": [jwk(Algorithm::ES256, kid)]}).to_string());
        let settings = AuthSettings {
            jwt_jwks_file: Some(file.0.clone()),
            ..settings()
        };
        assert!(check(&settings, &sign(Algorithm::ES256, &claims(json!({})))).is_ok());
    }
}

#[test]
fn an_external_user_gets_the_best_name_in_the_token() {
    let long = "ä".repeat(200);
    let cases = [
        (json!({"name": "Ann", "email": "ann@example.com"}), "Ann"),
        (json!({"email": "ann@example.com"}), "ann@example.com"),
        (json!({"name": " \u{0} ", "email": 1}), "auth0|42"),
        (json!({"name": "A\u{0}nn\n"}), "Ann"),
        (json!({"name": long}), long.get(..200).unwrap()),
        (json!({"sub": " "}), "?"),
    ];
    for (changes, expected) in cases {
        let mut all = json!({"sub": "auth0|42", "role": null});
        all.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        let token = sign(Algorithm::ES256, &claims(all));
        let checked = check(&external("test-only-ec.public.pem"), &token).unwrap();
        let Subject::External { name, .. } = checked.subject else {
            panic!("expected an external user")
        };
        assert_eq!((name.as_str(), checked.role), (expected, Role::User));
    }
}

#[test]
fn an_external_subject_must_be_storable() {
    for subject in ["", "a\0b", &"a".repeat(256)] {
        let token = sign(Algorithm::ES256, &claims(json!({"sub": subject})));
        assert_eq!(
            check(&external("test-only-ec.public.pem"), &token),
            Err(INVALID),
            "{subject:?}"
        );
    }
}

#[test]
fn no_tokens_are_issued_with_an_external_issuer() {
    let tokens = Tokens::new(&external("test-only-ec.public.pem")).unwrap();
    let issued = tokens.issue(user_id(), Role::User, now(), Duration::from_mins(1));
    assert!(matches!(issued, Err(ApiError::NotFound(_))));
}
