//! Examples show text that differs from run to run by an ellipsis. (`tests/real` uses this file, too.)

/// Returns whether `shown` is `real` with an ellipsis for each part that differs from run to run.
pub fn is_shown_as(real: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = real.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn ellipsis_matches_any_text() {
    for (real, shown, is) in [
        ("abc", "abc", true),
        ("abc", "ab", false),
        ("a123c", "a…c", true),
        ("a123c", "a…", true),
        ("a123c", "a…2…c", true),
        ("a123c", "a…4…c", false),
        ("ab", "ab…b", false),
    ] {
        assert_eq!(is_shown_as(real, shown), is, "{real} as {shown}");
    }
}
