//! Builds what is compared with.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::server::{node_folder, variants_folder};

/// Builds the variants, the Go version where Go is, and installs what the one on Node needs where npm is. What can't be built is left out, with a word about it.
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
    if is_here("go", "version") {
        let binary = variants_folder().join("release/go-chat");
        run(Command::new("go").arg("build").arg("-o").arg(binary).arg(folder.join("go/chat.go")));
    }
    if is_here("npm", "--version") {
        install_node(&folder.join("node"));
    }
}

/// Into the target folder: the sources stay as they are.
fn install_node(from: &Path) {
    let folder = node_folder();
    for file in ["package.json", "chat.js"] {
        let copied = fs::create_dir_all(&folder).and_then(|()| fs::copy(from.join(file), folder.join(file)));
        if let Err(error) = copied {
            return eprintln!("{file}: {error}");
        }
    }
    run(Command::new("npm")
        .args(["install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"])
        .current_dir(folder));
}

fn is_here(program: &str, flag: &str) -> bool {
    let status = Command::new(program).arg(flag).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn run(command: &mut Command) {
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("{command:?}: {status}"),
        Err(error) => eprintln!("{command:?}: {error}"),
    }
}
