//! How a region comes from one shard to another, as in MIT 6.5840's shardkv: the old one freezes it and tells
//! its content, the new one installs that, the old one lets it go. Whoever finds the move undone may go on
//! with it: each step, taken twice or late, finds what it was to bring about, or a later version, and changes
//! nothing.

use std::collections::BTreeMap;

use contract::{Batch, Bug, Bytes, EngineError, Family, Range, ReadStore};

use crate::mvcc::split_version_key;

use super::holdings::{Holding, Holdings, State};
use super::layout::{DATA, HOLDINGS_KEY, LOCKS, WRITES, encode, version_bounds};
use super::op::{Content, Held, Ret, Span};
use super::view::{Refusal, View};

/// Where a span's pairs stand in each family: from, and to if there is an end.
fn places(span: &Span) -> [(Family, Vec<u8>, Option<Vec<u8>>); 3] {
    let (from, to) = version_bounds(span);
    let locks = (LOCKS, span.start.to_vec(), span.end.as_ref().map(|end| end.to_vec()));
    [(DATA, from.clone(), to.clone()), locks, (WRITES, from, to)]
}

/// Removes all that a span holds.
fn wipe(span: &Span, batch: &mut Batch) {
    for (family, from, to) in places(span) {
        batch.delete_range(family, from, to);
    }
}

fn keep(holdings: &Holdings, batch: &mut Batch) {
    batch.put(HOLDINGS_KEY, encode(holdings));
}

impl<S: ReadStore> View<'_, S> {
    async fn content(&self, span: &Span) -> Result<Content, EngineError> {
        let mut families = Vec::new();
        for (family, from, to) in places(span) {
            let range = Range { from: &from, to: to.as_deref(), ..Range::all() }.of(family);
            let mut pairs: Vec<(Bytes, Bytes)> = Vec::new();
            let mut pair = |key: &[u8], value: &[u8]| pairs.push((key.into(), value.into()));
            self.store.visit(range, usize::MAX, &mut pair).await?;
            assert!(pairs.is_sorted_by(|a, b| a.0 < b.0), "a store scans in key order");
            families.push((family.0, pairs));
        }
        let moments = self.moments;
        Ok(Content { families, noted: moments.noted, clock: moments.clock, safepoint: moments.safepoint })
    }

    /// What the shard serves, and how much of it there is.
    pub(super) async fn sizes(&self, holdings: &Holdings) -> Result<Vec<Held>, EngineError> {
        let mut held = Vec::new();
        let is_told = |known: &&Holding| known.state == State::Held || self.bugs.has(Bug::GivenAwayReported);
        for Holding { span, version, .. } in holdings.known().filter(is_told) {
            let mut pairs = 0;
            for (family, from, to) in places(span) {
                let range = Range { from: &from, to: to.as_deref(), ..Range::all() }.of(family);
                pairs += self.store.visit(range, usize::MAX, &mut |_, _| ()).await? as u64;
            }
            held.push(Held { span: span.clone(), version: *version, pairs });
        }
        Ok(held)
    }

    /// Where a span falls in two. Versions of one key stay together: half of the pairs is the aim, not the rule.
    pub(super) async fn middle(&self, span: &Span) -> Result<Ret, EngineError> {
        let mut pairs: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for (family, from, to) in places(span) {
            let range = Range { from: &from, to: to.as_deref(), ..Range::all() }.of(family);
            for (key, _) in self.store.scan(range, usize::MAX).await? {
                let user_key = split_version_key(&key).filter(|_| family != LOCKS).map(|(key, _)| key);
                *pairs.entry(user_key.unwrap_or(key)).or_default() += 1;
            }
        }
        let total: u64 = pairs.values().sum();
        let before = pairs.into_iter().scan(0, |sum, (key, pairs)| {
            let before = *sum;
            *sum += pairs;
            Some((key, before))
        });
        let middle = before.skip(1).min_by_key(|(_, before)| total.abs_diff(2 * before));
        Ok(Ret::Middle(middle.map(|(key, _)| key.into())))
    }

    /// Stops serving a span, and tells what it holds.
    pub(super) async fn freeze(
        &self,
        span: Span,
        version: u64,
        holdings: &mut Holdings,
        batch: &mut Batch,
    ) -> Result<Ret, Refusal> {
        match holdings.of_span(&span) {
            Some(found) if found.state == State::Held && found.version < version => {
                let content = self.content(&span).await?;
                holdings.set(Holding { span, version, state: State::Frozen }, true);
                keep(holdings, batch);
                Ok(Ret::Content(content))
            }
            Some(found) if found.state == State::Frozen && found.version == version => {
                Ok(Ret::Content(self.content(&span).await?))
            }
            _ => Err(Refusal::Answer(Ret::NotHere)),
        }
    }

    /// Takes a region over, with what another shard has told of it.
    pub(super) fn install(
        &self,
        span: Span,
        version: u64,
        content: Content,
        holdings: &mut Holdings,
        batch: &mut Batch,
    ) -> Result<Ret, Refusal> {
        if holdings.meeting(&span).any(|known| known.version >= version) {
            return Ok(Ret::Done);
        }
        // Whoever has this content has it from another shard, to which it went from here.
        if holdings.meeting(&span).any(|known| known.state == State::Held) {
            return Err(Refusal::Answer(Ret::NotHere));
        }
        wipe(&span, batch);
        for (family, pairs) in content.families {
            let family = Family(family);
            assert!([DATA, LOCKS, WRITES].contains(&family), "a region has three families");
            for (key, value) in pairs {
                let inside = match split_version_key(&key) {
                    Some((user_key, _)) if family != LOCKS => span.contains(&user_key),
                    _ => family == LOCKS && span.contains(&key),
                };
                assert!(inside, "a region's pairs lie in its span");
                batch.put_in(family, &*key, &*value);
            }
        }
        holdings.set(Holding { span, version, state: State::Held }, false);
        keep(holdings, batch);
        Ok(Ret::Done)
    }

    /// Removes what was frozen with a version. A part of it may have come back since.
    pub(super) fn release(
        &self,
        span: &Span,
        version: u64,
        holdings: &mut Holdings,
        batch: &mut Batch,
    ) -> Result<Ret, Refusal> {
        let frozen = |known: &&Holding| {
            known.state == State::Frozen && known.version == version && span.covers(&known.span)
        };
        let parts: Vec<Span> =
            holdings.meeting(span).filter(frozen).map(|known| known.span.clone()).collect();
        for part in parts {
            wipe(&part, batch);
            holdings.set(Holding { span: part, version, state: State::Gone }, false);
            keep(holdings, batch);
        }
        Ok(Ret::Done)
    }
}
