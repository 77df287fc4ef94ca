//! Which spans a shard holds, has frozen, or has given away: as in MIT 6.5840's shardkv, each with the
//! version with which that came about.
//!
//! Invariants:
//! - Spans are in key order and disjoint.
//! - The version of a key only grows: what comes late, or twice, finds a later version and changes nothing.
//!   That is why what was given away stays known.

use contract::{Bytes, GroupId};
use serde::{Deserialize, Serialize};

use super::op::{Region, Span};

/// What a shard has to do with a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum State {
    /// It serves it.
    Held,
    /// It serves it no longer, and keeps its data until somebody else has them.
    Frozen,
    /// It has removed its data.
    Gone,
}

/// A span of which a shard knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holding {
    pub(super) span: Span,
    pub(super) version: u64,
    pub(super) state: State,
}

/// All spans of which a shard knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holdings(Vec<Holding>);

impl Span {
    /// What lies in both spans; `None` if nothing does.
    fn intersection(&self, other: &Self) -> Option<Self> {
        let start = self.start.clone().max(other.start.clone());
        let end = match (&self.end, &other.end) {
            (Some(a), Some(b)) => Some(a.clone().min(b.clone())),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        let some = end.as_ref().is_none_or(|end| start < *end);
        some.then_some(Self { start, end })
    }

    /// What lies in this span and not in another one: before it, and behind it.
    fn without(&self, other: &Self) -> Vec<Self> {
        let before = Self { start: Bytes::default(), end: Some(other.start.clone()) };
        let behind = other.end.clone().map(|end| Self { start: end, end: None });
        [Some(before), behind].into_iter().flatten().filter_map(|part| self.intersection(&part)).collect()
    }
}

impl Holdings {
    /// What a group holds before anything has moved.
    pub(super) fn founding(regions: &[Region], group: GroupId) -> Self {
        let ours = regions.iter().filter(|region| region.group == group);
        let held = |region: &Region| Holding {
            span: region.span.clone(),
            version: region.version,
            state: State::Held,
        };
        let holdings = Self(ours.map(held).collect());
        holdings.check();
        holdings
    }

    fn check(&self) {
        let disjoint = |a: &Holding, b: &Holding| a.span.end.as_ref().is_some_and(|end| *end <= b.span.start);
        assert!(self.0.is_sorted_by(disjoint), "spans are in key order and disjoint");
    }

    /// What is known of the span that holds all of these keys.
    pub(super) fn of_keys<'a>(&self, mut keys: impl Iterator<Item = &'a Bytes>) -> Option<&Holding> {
        let first = keys.next()?;
        let found = self.0.iter().find(|holding| holding.span.contains(first))?;
        keys.all(|key| found.span.contains(key)).then_some(found)
    }

    /// What is known of the span that covers another one.
    pub(super) fn of_span(&self, span: &Span) -> Option<&Holding> {
        self.0.iter().find(|holding| holding.span.covers(span))
    }

    /// What is known of parts of a span.
    pub(super) fn meeting(&self, span: &Span) -> impl Iterator<Item = &Holding> {
        self.0.iter().filter(|holding| holding.span.intersection(span).is_some())
    }

    /// All that is known, in key order.
    pub(super) fn known(&self) -> impl Iterator<Item = &Holding> {
        self.0.iter()
    }

    /// From here on this is known of the span. What else was known of the keys around it stays, or takes the
    /// new version too, where `around` says so.
    pub(super) fn set(&mut self, new: Holding, around: bool) {
        let mut all = Vec::with_capacity(self.0.len() + 2);
        for known in std::mem::take(&mut self.0) {
            if known.span.intersection(&new.span).is_none() {
                all.push(known);
                continue;
            }
            assert!(
                known.version < new.version || (known.version == new.version && known.state < new.state),
                "the version of a key only grows"
            );
            let version = if around { new.version } else { known.version };
            let part = |span| Holding { span, version, state: known.state };
            all.extend(known.span.without(&new.span).into_iter().map(part));
        }
        all.push(new);
        all.sort_by(|a, b| a.span.start.cmp(&b.span.start));
        self.0 = all;
        self.check();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: &str, end: &str) -> Span {
        Span { start: start.into(), end: (!end.is_empty()).then(|| end.into()) }
    }

    fn holding(start: &str, end: &str, version: u64, state: State) -> Holding {
        Holding { span: span(start, end), version, state }
    }

    #[test]
    fn what_is_cut_out_leaves_both_sides() {
        let mut holdings = Holdings(vec![holding("a", "", 1, State::Held)]);
        holdings.set(holding("m", "p", 2, State::Frozen), true);
        let mut expected = vec![
            holding("a", "m", 2, State::Held),
            holding("m", "p", 2, State::Frozen),
            holding("p", "", 2, State::Held),
        ];
        assert_eq!(holdings.0, expected);
        holdings.set(holding("m", "p", 2, State::Gone), false);
        holdings.set(holding("m", "n", 3, State::Held), false);
        expected[1] = holding("n", "p", 2, State::Gone);
        expected.insert(1, holding("m", "n", 3, State::Held));
        assert_eq!(holdings.0, expected);
        assert_eq!(holdings.of_keys([&"b".into(), &"c".into()].into_iter()), Some(&expected[0]));
        assert_eq!(holdings.of_keys([&"b".into(), &"m".into()].into_iter()), None);
        assert_eq!(holdings.of_span(&span("n", "o")), Some(&expected[2]));
        assert_eq!(holdings.of_span(&span("m", "o")), None);
        assert_eq!(holdings.meeting(&span("l", "mm")).count(), 2);
    }

    #[test]
    #[should_panic(expected = "the version of a key only grows")]
    fn a_version_does_not_fall_back() {
        let mut holdings = Holdings(vec![holding("a", "", 3, State::Gone)]);
        holdings.set(holding("b", "", 3, State::Held), false);
    }
}
