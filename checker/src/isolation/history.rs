//! Transactions as their clients saw them.

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction<A> {
    /// Which client ran it. A process runs one transaction after the other.
    pub process: u32,
    /// When it began, on any clock that all transactions share.
    pub invoked: u64,
    /// When its client learned how it ended; `None` if it never did.
    pub returned: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it did, in order. What a transaction read that did not commit is not looked at.
    pub actions: Vec<A>,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Committed,
    /// It took no effect.
    Aborted,
    /// Nobody knows. It counts as committed once something that it wrote was read.
    Unknown,
}

/// Why a history cannot be judged. Transactions are numbered by their places in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Versions are told by their values.
    #[error("T{first} and T{second} both write {value} to {key}: each value must be written once per key")]
    WrittenTwice {
        /// The key.
        key: u64,
        /// The value.
        value: u64,
        /// Who wrote it.
        first: u32,
        /// Who wrote it, too.
        second: u32,
    },
    /// A transaction ends after it began.
    #[error("T{0} returned before it was invoked")]
    EndsBeforeItBegins(u32),
    /// More transactions than have numbers.
    #[error("more than 2^31 transactions")]
    TooLong,
}

/// Checks what does not depend on what transactions do.
///
/// # Errors
/// [`Malformed`] if times cannot be right.
pub(super) fn check<A>(transactions: &[Transaction<A>]) -> Result<(), Malformed> {
    if transactions.len() > 1 << 31 {
        return Err(Malformed::TooLong);
    }
    for (number, transaction) in (0..).zip(transactions) {
        if transaction.returned.is_some_and(|returned| returned < transaction.invoked) {
            return Err(Malformed::EndsBeforeItBegins(number));
        }
    }
    Ok(())
}

/// Checks that each value is written once per key. Versions come in the order of their keys and values, each
/// with its writer.
///
/// # Errors
/// [`Malformed::WrittenTwice`].
pub(super) fn written_once(versions: impl Iterator<Item = (u64, u64, u32)>) -> Result<(), Malformed> {
    let mut before: Option<(u64, u64, u32)> = None;
    for (key, value, second) in versions {
        match before.replace((key, value, second)) {
            Some((k, v, first)) if (k, v) == (key, value) => {
                return Err(Malformed::WrittenTwice { key, value, first, second });
            }
            Some((k, v, _)) => assert!((k, v) < (key, value), "versions come in order"),
            None => {}
        }
    }
    Ok(())
}
