//! Which seeds a sweep runs.

use std::fmt;
use std::str::FromStr;

use contract::Seed;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A list of seeds, written as `0..10000`, as `5..` without an end, as one number, or as `10000@text`: ten thousand seeds
/// that look random and are a function of the text, such as the hash of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds {
    from: u64,
    to: u64,
    salt: Option<String>,
}

/// A text that names no seeds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no seeds: {why}")]
pub struct SeedsError {
    /// The text.
    pub text: String,
    /// Why, and what to write instead.
    pub why: String,
}

impl Seeds {
    /// The seeds with a number from `from` on and below `to`.
    ///
    /// # Panics
    /// If there are none.
    pub fn range(from: u64, to: u64) -> Self {
        assert!(from < to, "a sweep has seeds");
        Self { from, to, salt: None }
    }

    /// How many they are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> u64 {
        self.to - self.from
    }

    /// The seed in a place, counted from 0.
    ///
    /// # Panics
    /// If the place is not below [`Seeds::len`].
    pub fn get(&self, place: u64) -> Seed {
        assert!(place < self.len(), "place {place} of {} seeds", self.len());
        let number = self.from + place;
        match &self.salt {
            None => Seed(number),
            Some(salt) => {
                let mut key = [0_u8; 32];
                // Texts longer than a key are folded into it, so that every byte counts.
                for (place, byte) in salt.bytes().enumerate() {
                    key[place % 32] = byte ^ key[place % 32].rotate_left(3);
                }
                let mut stream = ChaCha8Rng::from_seed(key);
                stream.set_stream(number);
                // 53 bits: every JSON reader keeps them.
                Seed(stream.next_u64() >> 11)
            }
        }
    }

    /// Whether only time or patience ends it.
    pub fn is_open(&self) -> bool {
        self.to == u64::MAX
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Seed> + '_ {
        (0..self.len()).map(|place| self.get(place))
    }

    /// Those before a place; `None` if that is the first.
    pub fn first(&self, place: u64) -> Option<Self> {
        (place > 0).then(|| Self { to: self.from + place.min(self.len()), ..self.clone() })
    }

    /// Those from a place on, to go on with later; `None` if nothing is left.
    pub fn rest(&self, place: u64) -> Option<Self> {
        (place < self.len()).then(|| Self { from: self.from + place, ..self.clone() })
    }
}

impl FromStr for Seeds {
    type Err = SeedsError;

    fn from_str(text: &str) -> Result<Self, SeedsError> {
        let refuse = |why: String| SeedsError { text: text.to_owned(), why };
        let number = |part: &str| {
            let digits = part.trim().replace('_', "");
            digits.parse::<u64>().map_err(|_| refuse(format!("`{}` is not a whole number", part.trim())))
        };
        let (numbers, salt) = match text.split_once('@') {
            Some((_, "")) => return Err(refuse("give a text after the `@`, such as a commit's hash".into())),
            Some((numbers, salt)) => (numbers, Some(salt.to_owned())),
            None => (text, None),
        };
        let (from, to) = match numbers.split_once("..") {
            Some((from, "")) => (number(from)?, u64::MAX),
            Some((from, to)) => (number(from)?, number(to.trim_start_matches('='))?),
            None if salt.is_some() => (0, number(numbers)?),
            None => {
                let only = number(numbers)?;
                (
                    only,
                    only.checked_add(1)
                        .ok_or_else(|| refuse("the last seed there is cannot be run".into()))?,
                )
            }
        };
        if numbers.contains("..=") {
            return Err(refuse(format!("a range ends before its second number: write {from}..{}", to + 1)));
        }
        if from > to {
            return Err(refuse(format!("it ends before it begins; did you mean {to}..{from}?")));
        }
        if from == to {
            return Err(refuse(format!("it is empty; for the seed {from} alone write {from}")));
        }
        Ok(Self { from, to, salt })
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.from)?;
        if !self.is_open() {
            self.to.fmt(f)?;
        }
        self.salt.as_ref().map_or(Ok(()), |salt| write!(f, "@{salt}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_numbers_and_hashes() {
        let seeds = |text: &str| text.parse::<Seeds>().expect(text);
        assert_eq!(seeds("3..6").iter().map(|seed| seed.0).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(seeds("7").iter().map(|seed| seed.0).collect::<Vec<_>>(), [7]);
        assert_eq!(seeds("0..10_000").len(), 10_000);
        let hashed = seeds("10000@c5d6c77");
        assert_eq!(hashed.len(), 10_000);
        assert_eq!(hashed.iter().collect::<Vec<_>>(), seeds("10000@c5d6c77").iter().collect::<Vec<_>>());
        assert_ne!(hashed.get(0), seeds("10000@c5d6c78").get(0));
        assert!(hashed.iter().all(|seed| seed.0 < 1 << 53));
        assert_eq!(hashed.iter().collect::<std::collections::BTreeSet<_>>().len(), 10_000);
    }

    #[test]
    fn the_rest_reads_back() {
        for text in ["0..10000", "5", "10000@abc", "5..", "5..@abc"] {
            let seeds: Seeds = text.parse().expect(text);
            assert_eq!(seeds.to_string().parse(), Ok(seeds.clone()), "{text}");
            assert_eq!(seeds.rest(seeds.len()), None);
        }
        let rest = "100@abc".parse::<Seeds>().expect("seeds").rest(40).expect("60 are left");
        assert_eq!(rest.to_string(), "40..100@abc");
        assert_eq!(rest.get(0), "100@abc".parse::<Seeds>().expect("seeds").get(40));
    }

    #[test]
    fn errors_say_what_to_write() {
        let told = |text: &str| text.parse::<Seeds>().expect_err(text).to_string();
        assert_eq!(told("10..5"), "`10..5` names no seeds: it ends before it begins; did you mean 5..10?");
        assert_eq!(told("5..5"), "`5..5` names no seeds: it is empty; for the seed 5 alone write 5");
        assert_eq!(
            told("0..=9"),
            "`0..=9` names no seeds: a range ends before its second number: write 0..10"
        );
        assert_eq!(told("all"), "`all` names no seeds: `all` is not a whole number");
        assert_eq!(told("9@"), "`9@` names no seeds: give a text after the `@`, such as a commit's hash");
    }
}
