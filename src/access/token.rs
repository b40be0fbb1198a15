//! Secrets that clients present to log in: [`LoginToken`], and the hashes that the server keeps of them: [`TokenHash`].
//!
//! A hash is SHA-256 (FIPS 180-4) without salt or stretching. A random token has 160 bits, which no dictionary holds.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

/// Longest token, in bytes: the longest header of most HTTP servers.
pub const TOKEN_MAX_BYTES: usize = 8192;

/// Random bytes of a token that the server makes: 160 bits.
const RANDOM_BYTES: usize = 20;

/// A secret that a client presents: a random token, or a JSON Web Token.
///
/// `Debug` hides it and there is no `Display`, so it can't get into the log. Comparisons take the same time for all tokens
/// of one length.
#[derive(Clone)]
pub struct LoginToken(String);

impl LoginToken {
    /// Accepts 1 to [`TOKEN_MAX_BYTES`] bytes of printable ASCII without blanks.
    pub fn parse(raw: &str) -> Option<LoginToken> {
        let is_token =
            (1..=TOKEN_MAX_BYTES).contains(&raw.len()) && raw.bytes().all(|byte| byte.is_ascii_graphic());
        is_token.then(|| LoginToken(raw.into()))
    }

    /// Makes a token of 32 lower-case letters and digits in Base32 (RFC 4648, section 6), which has no `0`, `1`, `8` or `9`.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn random() -> Result<LoginToken, String> {
        let mut bytes = [0; RANDOM_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| "the operating system has no random numbers for a token".to_string())?;
        Ok(LoginToken(data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()))
    }

    /// The secret itself, for its owner only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash that the server keeps of this token.
    pub fn hash(&self) -> TokenHash {
        let mut hash = TokenHash([0; 32]);
        hash.0.copy_from_slice(digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref());
        hash
    }
}

impl fmt::Debug for LoginToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginToken(..)")
    }
}

impl PartialEq for LoginToken {
    fn eq(&self, other: &LoginToken) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for LoginToken {}

/// The SHA-256 hash of a token, written `sha256:` and 64 hexadecimal digits. Comparison takes constant time.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl PartialEq for TokenHash {
    fn eq(&self, other: &TokenHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl FromStr for TokenHash {
    type Err = String;

    /// # Errors
    /// The text is no `sha256:` hash.
    fn from_str(raw: &str) -> Result<TokenHash, String> {
        let digits = raw.strip_prefix("sha256:").map(str::as_bytes);
        let bytes = digits.and_then(|digits| data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok());
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(TokenHash)
            .ok_or_else(|| "a token is sha256: and the 64 hexadecimal digits of its SHA-256 hash".to_string())
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
