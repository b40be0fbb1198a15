//! Builds what is compared with.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::server::variants_folder;

/// Builds the variants, and the Go version where Go is. What can't be built is left out, with a word about it.
pub fn variants() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/variants");
    if folder.join("Cargo.toml").exists() {
        eprintln!("building benches/variants …");
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
        run(Command::new(cargo)
            .args(["build", "--release", "--quiet", "--bins", "--target-dir"])
            .arg(variants_folder())
            .current_dir(&folder));
    }
    let go = Command::new("go").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if go.is_ok_and(|status| status.success()) {
        let binary = variants_folder().join("release/go-chat");
        run(Command::new("go").arg("build").arg("-o").arg(binary).arg(folder.join("go/chat.go")));
    }
}

fn run(command: &mut Command) {
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("{command:?}: {status}"),
        Err(error) => eprintln!("{command:?}: {error}"),
    }
}
