//! Keys that confusable names share: [`Looks`].
//!
//! A key is the skeleton of UTS 39, section 4, in lower case. Skeletons depend on the case: `I` looks like `l`, `i` does
//! not. So a name has a key for its spelling and one for its lower case, which are mostly the same. Two names look alike if
//! they share a key. `ivan` and `lvan` share none, `Ivan` and `lvan` do.

use std::sync::LazyLock;

use lean_string::LeanString;
use smallvec::{SmallVec, smallvec};
use unicode_normalization::UnicodeNormalization;
use unicode_security::skeleton;

use super::invisible::is_ignorable;

/// The keys of a name: all different, at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Looks(SmallVec<[String; 1]>);

impl Looks {
    /// Computes the keys of `name`.
    pub fn of(name: &str) -> Looks {
        let small = |c: char| c.to_ascii_lowercase();
        if name.is_ascii() {
            let mut looks = Looks(smallvec![ascii_key(name.chars().map(small))]);
            looks.add(ascii_key(name.chars()));
            return looks;
        }
        let mut looks = Looks(smallvec![key(&fold(name).collect::<String>())]);
        looks.add(key(name));
        // The keys above treat a capital `I` of any script as an `l`. A reader may take it for an `i` too.
        looks.add(key(&name
            .chars()
            .map(|c| if looks_like_capital_i(c) { 'i' } else { c })
            .collect::<String>()));
        looks
    }

    /// The key of the name in lower case.
    pub fn first(&self) -> &str {
        &self.0[0]
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether a person could take one name for the other.
    pub fn alike(&self, other: &Looks) -> bool {
        self.0.iter().any(|key| other.0.contains(key))
    }

    /// Whether every name that looks like `other` looks like this one too.
    pub fn cover(&self, other: &Looks) -> bool {
        other.0.iter().all(|key| self.0.contains(key))
    }

    fn add(&mut self, key: String) {
        if !self.0.contains(&key) {
            self.0.push(key);
        }
    }
}

/// The lower case of the compatibility form (Unicode 3.13, NFKC), without invisible characters. Names with the same result are
/// spellings of one name.
pub fn fold(raw: &str) -> impl Iterator<Item = char> + '_ {
    // Greek has two lower-case letters for one capital. `to_lowercase` yields only one of them.
    let lower = |c: char| c.to_lowercase().map(|c| if c == 'ς' { 'σ' } else { c });
    raw.nfkc().filter(|c| !is_ignorable(*c)).flat_map(lower).nfkc()
}

/// The skeleton of the lower case of the skeleton. The first skeleton can have capitals (`0` becomes `O`), whose lower case may
/// have another skeleton.
fn key(written: &str) -> String {
    let first: String = skeleton(written).collect();
    let small: String = fold(&first).collect();
    skeleton(&small).collect()
}

/// A fast [`key`] for ASCII, where each character contributes a fixed part of the key.
fn ascii_key(written: impl Iterator<Item = char>) -> String {
    static PARTS: LazyLock<Vec<LeanString>> =
        LazyLock::new(|| ('\0'..='\x7f').map(|c| key(c.encode_utf8(&mut [0; 4])).into()).collect());
    written.map(|c| PARTS[c as usize].as_str()).collect()
}

fn looks_like_capital_i(c: char) -> bool {
    c.is_uppercase() && skeleton(c.encode_utf8(&mut [0; 4])).eq(['l'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(one: &str, other: &str) -> bool {
        Looks::of(one).alike(&Looks::of(other))
    }

    #[test]
    fn fast_keys_of_ascii_equal_the_slow_ones() {
        for (one, other) in (' '..='~').flat_map(|one| (' '..='~').map(move |other| (one, other))) {
            let name = format!("{one}{other}");
            let slow = [key(&fold(&name).collect::<String>()), key(&name)];
            assert!(Looks::of(&name).keys().all(|key| slow.iter().any(|slow| slow == key)), "{name}");
            assert!(slow.iter().all(|slow| Looks::of(&name).keys().any(|key| slow == key)), "{name}");
        }
    }

    #[test]
    fn spellings_of_one_name_share_a_key() {
        let has_case = |c: &char| !c.to_lowercase().eq([*c]) || !c.to_uppercase().eq([*c]);
        for c in ('\0'..=char::MAX).filter(has_case) {
            let upper: String = c.to_uppercase().collect();
            let lower: String = c.to_lowercase().collect();
            let same = fold(&upper).eq(fold(&lower));
            assert!(!same || alike(&format!("x{upper}"), &format!("X{lower}")), "{c} {upper} {lower}");
        }
    }

    #[test]
    fn names_that_look_alike_share_a_key_and_ordinary_names_do_not() {
        let pairs = [
            ("ann", "аnn"),
            ("ANNA", "ΑΝΝΑ"),
            ("anna", "ΑΝΝΑ"),
            ("bob", "ВОВ"),
            ("BOB", "ВOB"),
            ("tim", "ТІМ"),
            ("Tim", "ТІM"),
            ("nina", "ΝΙΝΑ"),
            ("alice", "aIice"),
            ("Ivan", "lvan"),
            ("Ivan", "1van"),
            ("ivan", "іvan"),
            ("fred", "ſred"),
            ("bob", "b0b"),
            ("mark", "rnark"),
            ("cool", "сооӏ"),
            ("sofia", "ѕоfіа"),
            ("scope", "ѕсоре"),
            ("ann", "Ａｎｎ"),
            ("ann", "𝒂𝓃𝐧"),
            ("ann", "ⓐⓝⓝ"),
            ("zoë", "zoe\u{308}"),
            ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
            ("❤\u{fe0f}", "❤"),
            ("علی\u{200c}رضا", "علیرضا"),
            ("lisa", "ꓡіѕа"),
            ("a-b", "a‐b"),
        ];
        for (one, other) in pairs {
            assert!(alike(one, other) && alike(other, one), "{one} {other}");
        }
        let different = [
            ("ivan", "lvan"),
            ("maria", "marla"),
            ("nick", "vick"),
            ("Нина", "Nina"),
            ("вера", "bera"),
            ("zoe", "zoë"),
            ("ann", "anna"),
            ("user1", "user2"),
            ("user-11", "user-10"),
            ("👍", "👎"),
            ("иван", "nван"),
            ("李", "木子"),
        ];
        for (one, other) in different {
            assert!(!alike(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_name_covers_those_whose_keys_it_has() {
        let cover = |one: &str, other: &str| Looks::of(one).cover(&Looks::of(other));
        assert!(cover("ann", "ANN") && cover("Ivan", "lvan") && cover("ann", "аnn"));
        assert!(!cover("lvan", "Ivan") && !cover("ann", "anna"));
    }
}
