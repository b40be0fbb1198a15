//! JSON Web Tokens of another application (RFC 7519): [`JwtKey`] checks them.
//!
//! `jwt/key.rs` reads the key, and `jwt/provider.rs` checks signatures. The clock is an argument.

mod key;
mod provider;

use std::collections::BTreeMap;
use std::fmt;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::rights::{Grant, Grants, Identity, Role};
use super::token::LoginToken;
use crate::text::{Name, RoomName};

/// Seconds that a token may be early (`nbf`), because two clocks differ. The end of a token (`exp`) has no such margin.
const NOT_BEFORE_MARGIN_SECONDS: f64 = 5.0;

/// The end of the year 9999, in Unix seconds. A later `exp` counts as this, so that sums of times can't overflow.
const LATEST_UNIX_SECONDS: f64 = 253_402_300_799.0;

/// The key that signs the tokens of another application, or its public half, and the audience of the tokens.
#[derive(Clone, Debug)]
pub struct JwtKey {
    key: DecodingKey,
    validation: Validation,
}

/// The contents of a token whose signature and claims are good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// It has an account: the `sub` of the token.
    pub identity: Identity,
    /// End of the token, in seconds since the Unix epoch, rounded down.
    pub expires_unix: u64,
}

/// The reason why a token was refused, for the operator. Clients are not sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JwtRefused {
    /// It is not of the form of a token, a claim is missing or of a wrong type, or the header has an unknown extension.
    Malformed,
    /// Another algorithm than that of the key.
    Algorithm,
    Signature,
    /// `exp` has passed.
    Expired,
    /// `nbf` has not come yet.
    NotYet,
    /// `aud` is not the configured audience, or there is one and none is configured.
    Audience,
    /// `sub` is no name.
    Subject,
    /// `role` is no role, or `guest`.
    Role,
    /// `rooms` has a name of no room, one room twice, or an unknown right.
    Rooms,
}

impl fmt::Display for JwtRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JwtRefused::Malformed => "it is malformed, or a claim is missing or of a wrong type",
            JwtRefused::Algorithm => "its algorithm is not that of the key",
            JwtRefused::Signature => "its signature is not by the key",
            JwtRefused::Expired => "it has expired",
            JwtRefused::NotYet => "it is not valid yet",
            JwtRefused::Audience => "its audience is not that of --jwt-audience",
            JwtRefused::Subject => "its subject is no name",
            JwtRefused::Role => "its role is not user, moderator or admin",
            JwtRefused::Rooms => "its rooms are not names of rooms with read or write",
        })
    }
}

/// The claims that have a meaning here (RFC 7519, section 4.1). The library checks `aud`.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since the Unix epoch, possibly with a fraction.
    exp: f64,
    nbf: Option<f64>,
    role: Option<String>,
    rooms: Option<BTreeMap<String, String>>,
}

impl JwtKey {
    /// Reads the contents of a key file: a public key in PEM (Ed25519, P-256 or RSA), or else a secret. A line end behind the
    /// secret does not belong to it.
    ///
    /// A key has one algorithm: EdDSA, ES256, RS256 or, for a secret, HS256. Tokens of other audiences than `audience` are
    /// refused, and so are tokens with an audience if it is `None` (RFC 7519, section 4.1.3).
    ///
    /// # Errors
    /// The key is of another kind, or too short: the problem and its cure, without any part of the key.
    pub fn from_pem_or_secret(bytes: &[u8], audience: Option<&str>) -> Result<JwtKey, String> {
        provider::install();
        let (algorithm, key) = key::read(bytes)?;
        Ok(JwtKey { key, validation: validation(algorithm, audience) })
    }

    /// Checks a token at that time.
    ///
    /// # Errors
    /// The first rule that the token breaks.
    pub fn verify(&self, token: &LoginToken, unix_seconds: u64) -> Result<Verified, JwtRefused> {
        let claims = jsonwebtoken::decode::<Claims>(token.expose(), &self.key, &self.validation)
            .map_err(|error| refusal(&error))?
            .claims;
        let now = unix_seconds as f64;
        if claims.exp <= now {
            return Err(JwtRefused::Expired);
        }
        if claims.nbf.is_some_and(|start| start > now + NOT_BEFORE_MARGIN_SECONDS) {
            return Err(JwtRefused::NotYet);
        }
        let identity = Identity {
            account: Some(Name::parse(&claims.sub).map_err(|_| JwtRefused::Subject)?),
            role: role(claims.role.as_deref())?,
            grants: claims.rooms.as_ref().map(grants).transpose()?,
        };
        Ok(Verified { identity, expires_unix: claims.exp.min(LATEST_UNIX_SECONDS) as u64 })
    }
}

/// The rules for the library. It reads the system's clock, so [`JwtKey::verify`] checks the times instead.
fn validation(algorithm: Algorithm, audience: Option<&str>) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.required_spec_claims.clear();
    if let Some(audience) = audience {
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["aud"]);
    }
    validation
}

fn refusal(error: &Error) -> JwtRefused {
    match error.kind() {
        ErrorKind::InvalidAlgorithm => JwtRefused::Algorithm,
        ErrorKind::InvalidSignature => JwtRefused::Signature,
        // No claim but `aud` is required or checked by the library.
        ErrorKind::InvalidAudience
        | ErrorKind::MissingRequiredClaim(_)
        | ErrorKind::InvalidClaimFormat(_) => JwtRefused::Audience,
        _ => JwtRefused::Malformed,
    }
}

fn role(raw: Option<&str>) -> Result<Role, JwtRefused> {
    let role = raw.map_or(Ok(Role::User), str::parse).map_err(|_| JwtRefused::Role)?;
    if role > Role::Guest { Ok(role) } else { Err(JwtRefused::Role) }
}

fn grants(rooms: &BTreeMap<String, String>) -> Result<Grants, JwtRefused> {
    let mut grants = Grants::new();
    for (room, right) in rooms {
        let room = RoomName::parse(room).map_err(|_| JwtRefused::Rooms)?;
        let grant = match right.as_str() {
            "read" => Grant::Read,
            "write" => Grant::Write,
            _ => return Err(JwtRefused::Rooms),
        };
        if grants.insert(room, grant).is_some() {
            return Err(JwtRefused::Rooms);
        }
    }
    Ok(grants)
}
