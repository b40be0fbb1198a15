//! Reading the key of JSON Web Tokens: a public key in PEM (RFC 7468), or a secret.
//!
//! The few forms of DER (ITU-T X.690) are read here. A library for them took 5 s of processor time to build.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::de::IgnoredAny;

/// Shortest secret for HS256, in bytes (RFC 7518, section 3.2).
const SECRET_MIN_BYTES: usize = 32;

/// Sizes of an RSA modulus in bits: the least that RFC 7518, section 3.3, allows, and the most that `ring` accepts.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

// Tags of DER.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

// Algorithms of public keys in DER: object identifiers with their parameters (RFC 8410, section 3; RFC 5480, section 2.1;
// RFC 3279, section 2.3.1).
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
const ELLIPTIC_CURVE: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

const PEM_HINT: &str = "give a public key in PEM, as `openssl pkey -pubout` prints it";

/// Reads a key, which decides its algorithm.
///
/// # Errors
/// The problem and its cure, without any part of the key.
pub fn read(bytes: &[u8]) -> Result<(Algorithm, DecodingKey), String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains("-----BEGIN ") => public_pem(text),
        _ => secret(bytes),
    }
}

fn public_pem(text: &str) -> Result<(Algorithm, DecodingKey), String> {
    if text.contains("PRIVATE KEY-----") {
        return Err(format!("it is a private key, which only the application may have; {PEM_HINT}"));
    }
    if text.matches("-----BEGIN ").count() > 1 {
        return Err("it has several keys; give one".into());
    }
    let (label, bytes) = decode_pem(text).ok_or_else(damaged)?;
    match label {
        "PUBLIC KEY" => public_key(&bytes),
        "RSA PUBLIC KEY" => rsa(&bytes),
        "CERTIFICATE" => {
            Err("it is a certificate; give its key, as `openssl x509 -pubkey -noout` prints it".into())
        }
        _ => Err(format!("it is no public key; {PEM_HINT}")),
    }
}

fn damaged() -> String {
    format!("it is damaged; {PEM_HINT}")
}

/// Decodes PEM with lines of any length, and returns its label. Text around it is skipped.
fn decode_pem(text: &str) -> Option<(&str, Vec<u8>)> {
    let (label, rest) = text.split_once("-----BEGIN ")?.1.split_once("-----")?;
    let body = rest.split_once(&format!("-----END {label}-----"))?.0;
    Some((label, decode_base64(body.as_bytes())?))
}

fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let compact: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    data_encoding::BASE64.decode(&compact).ok()
}

/// Splits an element with that tag off the start of DER, and returns its contents and the rest. A length has at most two bytes.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der.strip_prefix(&[tag])? {
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [0x81, length, rest @ ..] | [length @ ..=0x7f, rest @ ..] => (usize::from(*length), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// The contents of a sequence, which must be all of the DER.
fn whole_sequence(der: &[u8]) -> Option<&[u8]> {
    element(SEQUENCE, der).and_then(|(contents, rest)| rest.is_empty().then_some(contents))
}

/// Reads a `SubjectPublicKeyInfo` (RFC 5280, section 4.1).
fn public_key(der: &[u8]) -> Result<(Algorithm, DecodingKey), String> {
    let parts = || {
        let (algorithm, rest) = element(SEQUENCE, whole_sequence(der)?)?;
        // The first byte counts unused bits, which no key has.
        let (bits, _) = element(BIT_STRING, rest)?;
        Some((algorithm, bits.strip_prefix(&[0])?))
    };
    match parts().ok_or_else(damaged)? {
        (ED25519, key) if key.len() == 32 => Ok((Algorithm::EdDSA, DecodingKey::from_ed_der(key))),
        (P256, key) if key.len() == 65 => Ok((Algorithm::ES256, DecodingKey::from_ec_der(key))),
        (P256, _) => {
            Err("its point is compressed; convert it by `openssl ec -pubin -conv_form uncompressed`".into())
        }
        (RSA, key) => rsa(key),
        (other, _) if other.starts_with(ELLIPTIC_CURVE) => {
            Err("its curve is not P-256; give a key for ES256, EdDSA or RS256".into())
        }
        _ => Err("it is neither Ed25519, P-256 nor RSA; give a key for EdDSA, ES256 or RS256".into()),
    }
}

/// Reads an `RSAPublicKey` (RFC 8017, appendix A.1.1).
fn rsa(der: &[u8]) -> Result<(Algorithm, DecodingKey), String> {
    let modulus_bits = || {
        let (modulus, rest) = element(INTEGER, whole_sequence(der)?)?;
        element(INTEGER, rest)?;
        // A zero byte in front keeps the number positive.
        let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
        Some(modulus.len() * 8 - modulus.first()?.leading_zeros() as usize)
    };
    match modulus_bits() {
        Some(bits) if RSA_BITS.contains(&bits) => Ok((Algorithm::RS256, DecodingKey::from_rsa_der(der))),
        Some(bits) => Err(format!(
            "it is an RSA key of {bits} bits; give one of {} to {}",
            RSA_BITS.start(),
            RSA_BITS.end()
        )),
        None => Err(damaged()),
    }
}

/// Reads a secret for HS256. Every byte counts, but one line end that an editor has added.
fn secret(bytes: &[u8]) -> Result<(Algorithm, DecodingKey), String> {
    let secret = bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n")).unwrap_or(bytes);
    if let Some(form) = public_form(secret) {
        return Err(format!("it is {form}, which is no secret; {PEM_HINT}"));
    }
    if secret.len() < SECRET_MIN_BYTES {
        return Err(format!(
            "the secret has {} bytes, but needs {SECRET_MIN_BYTES} random ones, as from `openssl rand -hex 32`",
            secret.len()
        ));
    }
    match DecodingKey::from_secret(secret) {
        Ok(key) => Ok((Algorithm::HS256, key)),
        Err(error) => Err(error.to_string()),
    }
}

/// The form of a key that is no PEM, but may be public. Everybody could sign with it if it were taken for a secret.
fn public_form(bytes: &[u8]) -> Option<&'static str> {
    if whole_sequence(bytes).is_some() {
        Some("a key in DER")
    } else if decode_base64(bytes).is_some_and(|decoded| whole_sequence(&decoded).is_some()) {
        Some("a key in DER, encoded in Base64")
    } else if bytes.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        Some("a key in JSON")
    } else if [&b"ssh-"[..], b"ecdsa-sha2-"].iter().any(|prefix| bytes.starts_with(prefix)) {
        Some("a key of SSH")
    } else {
        None
    }
}
