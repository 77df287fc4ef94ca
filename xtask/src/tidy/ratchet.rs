//! A file is one thing. Most stay below the common limit; the few that do not are listed with a limit
//! of their own, which may only be lowered.

use std::collections::BTreeMap;

/// The common limit, in lines.
const LINES: usize = 600;

/// The exceptions, from `xtask/ratchet.toml`.
pub(crate) fn limits(text: &str) -> BTreeMap<String, usize> {
    let table: toml::Table = text.parse().expect("xtask/ratchet.toml is TOML");
    let limit = |(path, lines): (String, toml::Value)| {
        let lines = lines.as_integer().and_then(|lines| usize::try_from(lines).ok());
        (path, lines.expect("a ratchet is a number of lines"))
    };
    table.into_iter().map(limit).collect()
}

pub(crate) fn check(limits: &BTreeMap<String, usize>, path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    match limits.get(path) {
        Some(limit) if lines > *limit => {
            Some(format!("{path}: {lines} lines, its ratchet stands at {limit}"))
        }
        Some(limit) if lines <= LINES => {
            Some(format!("{path}: {lines} lines; its ratchet of {limit} is no longer needed"))
        }
        None if lines > LINES => Some(format!("{path}: {lines} lines, more than {LINES}: split it")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_outgrows_its_limit_is_found() {
        let limits = limits("\"a/src/big.rs\" = 700\n\"a/src/shrunk.rs\" = 800");
        let text = |lines: usize| "x\n".repeat(lines);
        assert_eq!(check(&limits, "a/src/lib.rs", &text(600)), None);
        assert!(check(&limits, "a/src/lib.rs", &text(601)).is_some());
        assert_eq!(check(&limits, "a/src/big.rs", &text(700)), None);
        assert!(check(&limits, "a/src/big.rs", &text(701)).is_some());
        assert!(check(&limits, "a/src/shrunk.rs", &text(600)).is_some());
    }
}
