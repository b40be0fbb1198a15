//! The key of JSON Web Tokens, from the file of `--jwt-key`.

use super::Config;
use super::file::read_bytes;
use crate::access::JwtKey;
use crate::text::clean;

/// Reads the key of `--jwt-key`, with the audience of `--jwt-audience`. There is none without the flag.
///
/// # Errors
/// The file can't be read or has no such key: one line that names it and the problem.
pub fn read_jwt_key(config: &Config) -> Result<Option<JwtKey>, String> {
    let Some(path) = &config.jwt_key else {
        return Ok(None);
    };
    read_bytes(path)
        .and_then(|bytes| JwtKey::from_pem_or_secret(&bytes, config.jwt_audience.as_deref()))
        .map(Some)
        .map_err(|problem| clean(&format!("--jwt-key {}: {problem}", path.display())).into_owned())
}
