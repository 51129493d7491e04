//! Reads the keys of access tokens: our own secret, or the public keys of an external identity provider.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use errand_shared::service::config::{Exit, Secret};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};

use crate::settings::AuthSettings;

/// RFC 7518, 3.2: a key for HS256 has at least the length of its hash.
const SECRET_MIN_BYTES: usize = 32;
/// 2048 bits. The cryptography library rejects shorter keys for every token; rejecting them at startup is clearer.
const RSA_MIN_BYTES: usize = 256;
/// The curve P-256 (1.2.840.10045.3.1.7) in DER.
const P256_OID: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// An uncompressed point of P-256.
const P256_POINT_BYTES: usize = 65;

/// The keys, by who issues the tokens.
pub(super) enum Keys {
    /// This API issues them, with HS256.
    Own {
        signing: EncodingKey,
        /// The secret, and the previous one during a rotation.
        verifying: Vec<DecodingKey>,
    },
    /// An external identity provider issues them.
    External(Vec<PublicKey>),
}

/// A public key and the only algorithm it is used with.
pub(super) struct PublicKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Keys {
    pub(super) fn new(settings: &AuthSettings) -> Result<Self, Exit> {
        const INSTEAD: &str = "replaces JWT_SECRET: set only one of them";
        match (&settings.jwt_public_key_file, &settings.jwt_jwks_file) {
            (Some(_), Some(_)) => Err(Exit::bad_setting(
                "JWT_JWKS_FILE",
                "replaces JWT_PUBLIC_KEY_FILE: set only one of them",
            )),
            (Some(_), None) if settings.jwt_secret.is_some() => {
                Err(Exit::bad_setting("JWT_PUBLIC_KEY_FILE", INSTEAD))
            }
            (None, Some(_)) if settings.jwt_secret.is_some() => {
                Err(Exit::bad_setting("JWT_JWKS_FILE", INSTEAD))
            }
            (Some(path), None) => public_key_file(path),
            (None, Some(path)) => jwks_file(path),
            (None, None) => own(
                settings.jwt_secret.as_ref(),
                settings.jwt_secret_previous.as_ref(),
            ),
        }
    }

    /// The keys that may have signed a token with this header, and their algorithms.
    pub(super) fn for_token<'a>(&'a self, header: &'a Header) -> Vec<(&'a DecodingKey, Algorithm)> {
        match self {
            Self::Own { verifying, .. } => verifying.iter().map(|key| (key, Algorithm::HS256)).collect(),
            Self::External(keys) => keys
                .iter()
                .filter(|key| match (&key.id, &header.kid) {
                    (Some(id), Some(wanted)) => id == wanted,
                    // A key without an id is the only key. A token without a key id requires that there is only one key.
                    (None, _) => true,
                    (Some(_), None) => keys.len() == 1,
                })
                .map(|key| (&key.key, key.algorithm))
                .collect(),
        }
    }
}

fn own(secret: Option<&Secret>, previous: Option<&Secret>) -> Result<Keys, Exit> {
    let secret = secret
        .ok_or_else(|| {
            let reason = "required, unless JWT_PUBLIC_KEY_FILE or JWT_JWKS_FILE is set";
            Exit::bad_setting("JWT_SECRET", reason)
        })
        .and_then(|secret| long_enough("JWT_SECRET", secret))?;
    let mut verifying = vec![DecodingKey::from_secret(secret)];
    if let Some(previous) = previous {
        verifying.push(DecodingKey::from_secret(long_enough(
            "JWT_SECRET_PREVIOUS",
            previous,
        )?));
    }
    Ok(Keys::Own {
        signing: EncodingKey::from_secret(secret),
        verifying,
    })
}

fn long_enough<'a>(name: &str, secret: &'a Secret) -> Result<&'a [u8], Exit> {
    let bytes = secret.reveal().as_bytes();
    if bytes.len() < SECRET_MIN_BYTES {
        return Err(Exit::bad_setting(
            name,
            format!("must have at least {SECRET_MIN_BYTES} bytes"),
        ));
    }
    Ok(bytes)
}

fn read(name: &str, path: &Path) -> Result<String, Exit> {
    std::fs::read_to_string(path)
        .map_err(|error| Exit::bad_setting(name, format!("cannot read the file: {}", error.kind())))
}

fn public_key_file(path: &Path) -> Result<Keys, Exit> {
    const NAME: &str = "JWT_PUBLIC_KEY_FILE";
    let pem = read(NAME, path)?;
    let (algorithm, key) = from_pem(&pem).map_err(|reason| Exit::bad_setting(NAME, reason))?;
    Ok(Keys::External(vec![PublicKey {
        id: None,
        algorithm,
        key,
    }]))
}

fn from_pem(pem: &str) -> Result<(Algorithm, DecodingKey), &'static str> {
    const UNKNOWN: &str =
        "must contain one public key in PEM: RSA of at least 2048 bits, EC P-256 or Ed25519";
    if pem.contains("PRIVATE KEY") {
        return Err("contains a private key; use the public key instead");
    }
    if pem.matches("-----BEGIN ").count() != 1 {
        return Err(UNKNOWN);
    }
    // RFC 7468, 5.2: there may be other text around the key.
    let (_, body) = pem.split_once("-----BEGIN PUBLIC KEY-----").ok_or(UNKNOWN)?;
    let (body, _) = body.split_once("-----END PUBLIC KEY-----").ok_or(UNKNOWN)?;
    let der = STANDARD
        .decode(
            body.chars()
                .filter(|char| !char.is_whitespace())
                .collect::<String>(),
        )
        .map_err(|_not_base64| UNKNOWN)?;
    let bytes = pem.as_bytes();
    if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
        return Ok((Algorithm::EdDSA, key));
    }
    if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
        let is_p256 = der.windows(P256_OID.len()).any(|window| window == P256_OID)
            && key
                .try_get_as_bytes()
                .is_ok_and(|point| point.len() == P256_POINT_BYTES);
        return if is_p256 {
            Ok((Algorithm::ES256, key))
        } else {
            Err(UNKNOWN)
        };
    }
    match DecodingKey::from_rsa_pem(bytes) {
        Ok(key) if der.len() >= RSA_MIN_BYTES => Ok((Algorithm::RS256, key)),
        _ => Err(UNKNOWN),
    }
}

fn jwks_file(path: &Path) -> Result<Keys, Exit> {
    const NAME: &str = "JWT_JWKS_FILE";
    let text = read(NAME, path)?;
    from_jwks(&text)
        .map(Keys::External)
        .map_err(|reason| Exit::bad_setting(NAME, reason))
}

fn from_jwks(text: &str) -> Result<Vec<PublicKey>, &'static str> {
    let set: JwkSet =
        serde_json::from_str(text).map_err(|_bad| "must contain a JSON Web Key Set (RFC 7517)")?;
    let mut keys: Vec<PublicKey> = Vec::new();
    for jwk in &set.keys {
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return Err("contains a secret key; only public keys are allowed");
        }
        // A provider may also publish keys for other purposes.
        let Some(algorithm) = algorithm_of(jwk) else {
            continue;
        };
        let key = DecodingKey::from_jwk(jwk).map_err(|_bad| "contains an invalid key")?;
        if keys.iter().any(|other| other.id == jwk.common.key_id) {
            return Err("contains two keys with the same `kid`, or without one");
        }
        keys.push(PublicKey {
            id: jwk.common.key_id.clone(),
            algorithm,
            key,
        });
    }
    match keys.len() {
        0 => Err("contains no key for RS256 (of at least 2048 bits), ES256 or EdDSA (Ed25519) signatures"),
        1 => Ok(keys),
        _ if keys.iter().any(|key| key.id.is_none()) => {
            Err("contains several keys, one of which has no `kid`")
        }
        _ => Ok(keys),
    }
}

/// The algorithm for the type of a key. None if the key is for another purpose.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    if jwk
        .common
        .public_key_use
        .as_ref()
        .is_some_and(|wanted| *wanted != PublicKeyUse::Signature)
    {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        // Base64 encodes three bytes in four characters.
        AlgorithmParameters::RSA(rsa) if rsa.n.len() >= RSA_MIN_BYTES.div_ceil(3) * 4 - 2 => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    match jwk.common.key_algorithm {
        Some(wanted) if wanted != KeyAlgorithm::from(algorithm) => None,
        _ => Some(algorithm),
    }
}

#[cfg(test)]
mod tests;
