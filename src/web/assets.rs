//! The chat page: the files in `page/`, embedded in the binary.

use std::borrow::Cow;

use http::StatusCode;
use http::header::{self, HeaderMap};

use crate::codec::http::HttpResponse;

#[derive(Debug)]
pub struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

/// The page may load only its own files, without inline scripts or styles (CSP Level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
/// Compilers read it, and no browser does.
const TYPES: &str = "text/plain; charset=utf-8";

const ASSETS: &[Asset] = &[
    Asset { path: "account.js", kind: JS, bytes: include_bytes!("page/account.js") },
    Asset { path: "address.js", kind: JS, bytes: include_bytes!("page/address.js") },
    Asset { path: "answers.js", kind: JS, bytes: include_bytes!("page/answers.js") },
    Asset { path: "banner.js", kind: JS, bytes: include_bytes!("page/banner.js") },
    Asset { path: "client.d.ts", kind: TYPES, bytes: include_bytes!("page/client.d.ts") },
    Asset { path: "client.js", kind: JS, bytes: include_bytes!("page/client.js") },
    Asset { path: "commands.js", kind: JS, bytes: include_bytes!("page/commands.js") },
    Asset { path: "composer.js", kind: JS, bytes: include_bytes!("page/composer.js") },
    Asset { path: "conversation.js", kind: JS, bytes: include_bytes!("page/conversation.js") },
    Asset { path: "dialogs.js", kind: JS, bytes: include_bytes!("page/dialogs.js") },
    Asset { path: "dom.js", kind: JS, bytes: include_bytes!("page/dom.js") },
    Asset { path: "drawers.js", kind: JS, bytes: include_bytes!("page/drawers.js") },
    Asset { path: "entries.js", kind: JS, bytes: include_bytes!("page/entries.js") },
    Asset { path: "events.js", kind: JS, bytes: include_bytes!("page/events.js") },
    Asset { path: "frames.js", kind: JS, bytes: include_bytes!("page/frames.js") },
    Asset { path: "icon.svg", kind: SVG, bytes: include_bytes!("page/icon.svg") },
    Asset { path: "", kind: HTML, bytes: include_bytes!("page/index.html") },
    Asset { path: "layout.css", kind: CSS, bytes: include_bytes!("page/layout.css") },
    Asset { path: "links.js", kind: JS, bytes: include_bytes!("page/links.js") },
    Asset { path: "lists.js", kind: JS, bytes: include_bytes!("page/lists.js") },
    Asset { path: "log.js", kind: JS, bytes: include_bytes!("page/log.js") },
    Asset { path: "login.js", kind: JS, bytes: include_bytes!("page/login.js") },
    Asset { path: "main.js", kind: JS, bytes: include_bytes!("page/main.js") },
    Asset { path: "member.js", kind: JS, bytes: include_bytes!("page/member.js") },
    Asset { path: "messages.css", kind: CSS, bytes: include_bytes!("page/messages.css") },
    Asset { path: "naming.js", kind: JS, bytes: include_bytes!("page/naming.js") },
    Asset { path: "own-account.js", kind: JS, bytes: include_bytes!("page/own-account.js") },
    Asset { path: "requests-dialog.js", kind: JS, bytes: include_bytes!("page/requests-dialog.js") },
    Asset { path: "requests.js", kind: JS, bytes: include_bytes!("page/requests.js") },
    Asset { path: "session.js", kind: JS, bytes: include_bytes!("page/session.js") },
    Asset { path: "state.js", kind: JS, bytes: include_bytes!("page/state.js") },
    Asset { path: "storage.js", kind: JS, bytes: include_bytes!("page/storage.js") },
    Asset { path: "style.css", kind: CSS, bytes: include_bytes!("page/style.css") },
    Asset { path: "topic.js", kind: JS, bytes: include_bytes!("page/topic.js") },
];

/// The file at that path.
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

impl Asset {
    /// The file, or 304 if the browser's copy is current.
    pub fn response(&self, headers: &HeaderMap) -> HttpResponse {
        let tag = self.tag();
        let is_cached = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        let is_cached = is_cached.flat_map(|tags| tags.split(',')).any(|one| {
            let one = one.trim();
            one == "*" || one.trim_start_matches("W/") == tag
        });
        let response = match is_cached {
            true => HttpResponse::new(StatusCode::NOT_MODIFIED),
            false => HttpResponse::new(StatusCode::OK).body(self.kind, Cow::Borrowed(self.bytes)),
        };
        response
            .with(header::ETAG, tag)
            .with(header::CACHE_CONTROL, "no-cache")
            .with(header::CONTENT_SECURITY_POLICY, POLICY)
            .with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .with(header::REFERRER_POLICY, "no-referrer")
    }

    /// The entity tag, a hash of the content (FNV-1a).
    fn tag(&self) -> String {
        let hash = self.bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        format!("\"{hash:016x}\"")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/page");
        let names =
            fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let names: BTreeSet<String> = names.map(|name| name.replace("index.html", "")).collect();
        assert_eq!(names, ASSETS.iter().map(|asset| asset.path.to_string()).collect());
    }
}
