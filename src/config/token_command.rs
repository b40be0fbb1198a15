//! `chinwag token NAME`: makes a token for an account.

use clap::{Arg, ArgMatches, Command};

use crate::access::{LoginToken, Role};
use crate::text::Name;

/// The command as clap reads it.
pub fn command() -> Command {
    Command::new("token")
        .about("Make a token for an account, and print it, followed by the section of the configuration file")
        .arg(
            Arg::new("name")
                .value_name("NAME")
                .required(true)
                .help("Name of the account")
                .value_parser(|raw: &str| Name::parse(raw).map_err(|error| error.to_string())),
        )
        .arg(
            Arg::new("role")
                .long("role")
                .value_name("ROLE")
                .default_value(Role::User.as_str())
                .help("Role of the account: user, moderator or admin")
                .value_parser(account_role),
        )
}

/// Makes the token. Its first line is for the owner, the rest for the configuration file.
///
/// # Errors
/// The operating system has no random numbers.
pub fn run(matches: &ArgMatches) -> Result<String, String> {
    let (Some(name), Some(role)) = (matches.get_one::<Name>("name"), matches.get_one::<Role>("role")) else {
        return Err("a token needs the name and the role of its account".into());
    };
    let token = LoginToken::random()?;
    let (secret, hash, key) = (token.expose(), token.hash(), quoted(name.as_str()));
    Ok(format!("{secret}\n[accounts.{key}]\nrole = \"{role}\"\ntoken = \"{hash}\"\n"))
}

fn account_role(raw: &str) -> Result<Role, String> {
    match raw.parse() {
        Ok(role) if role > Role::Guest => Ok(role),
        _ => Err("the role of an account is user, moderator or admin".into()),
    }
}

/// A name as a key of TOML (version 1.0, "Keys"): a name has no control characters, which would need escapes.
fn quoted(name: &str) -> String {
    match name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        true => name.into(),
        false => format!("\"{}\"", name.replace('\\', r"\\").replace('"', "\\\"")),
    }
}
