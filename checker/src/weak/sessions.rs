//! The session guarantees, for keys that are registers whose values have one writer each.
//!
//! A guarantee holds if the versions of each key can be put in one order that contradicts nothing of what
//! follows. Always: nothing comes before the start; what a swap or an append made comes after what it
//! found; and of one client's writes the one that it invoked first comes first. Beyond that
//!
//! - *monotonic reads*: what a client read later is no older than what it had read before;
//! - *monotonic writes*: the same, but only where both were written by one client;
//! - *read your writes*: what a client reads is no older than what it had written;
//! - *writes follow reads*: what a client writes is newer than what it had read; and whoever reads
//!   that reads no more what its writer had read.
//!
//! All of it holds in a sequential order, so that what is sequentially consistent keeps the guarantees. A
//! write of unknown outcome comes after its client's earlier ones, but later ones need not wait for it.
//! A swap that was refused says nothing. What *happened* later counts for nothing between clients.

use std::collections::BTreeMap;

use contract::{ClientId, History};

use super::versions::{Access, Accesses, Order, START, Version, by_key};
use super::{Consistency, WeakError};
use crate::explain::{Violation, clock, short, told};
use crate::judge::{Exhausted, Resource, Verdict};
use crate::parts::{NEVER, Operation, Part, operations};
use crate::spec::{Reason, Spec};

/// Why a version comes before another: what `earlier` saw or wrote against what `later` did, as places
/// among the accesses.
#[derive(Clone, Copy)]
struct Claim {
    kind: Kind,
    earlier: usize,
    later: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing comes before the start.
    Start,
    /// The later operation found what the earlier one left behind.
    Built,
    /// One client invoked them in this order.
    Issued,
    /// It is what the guarantee promises.
    Promised,
}

pub(super) fn judge<S: Spec>(
    history: &History<S::Op, S::Ret>,
    initial: &S,
    guarantee: Consistency,
) -> Result<Verdict, WeakError> {
    let operations = operations(history)?;
    let keys = by_key::<S>(&operations).ok_or(WeakError::NoRegister(guarantee))?;
    let (mut reads, mut told_apart) = (0, 0);
    // The violation that is complete first, whatever its key.
    let mut first: Option<(u32, Violation)> = None;
    for (key, touches) in &keys {
        let start = initial.register(key).ok_or(WeakError::NoRegister(guarantee))?;
        let accesses = Accesses::new(touches, start);
        reads += accesses.list.iter().filter(|access| access.reads).count();
        told_apart += accesses.list.iter().filter(|access| access.reads && access.saw.is_some()).count();
        let session =
            Session { key, operations: &operations, accesses: &accesses.list, guarantee, until: NEVER };
        let Some((failing, reason)) = session.broken(accesses.from_nowhere) else { continue };
        let end = operations[accesses.list[failing].at].end;
        if first.as_ref().is_none_or(|(known, _)| end < *known) {
            first = Some((end, session.violation::<S>(failing, reason)));
        }
    }
    Ok(match first {
        Some((_, violation)) => Verdict::Violation(violation),
        None if told_apart == reads => Verdict::Ok,
        None => {
            let what = Resource::Origins;
            Verdict::Unknown(Exhausted { what, steps: 0, linearized: told_apart, operations: reads })
        }
    })
}

/// One key under one guarantee.
struct Session<'s, 'h, K, O, R> {
    key: &'s K,
    operations: &'s [Operation<'h, O, R>],
    accesses: &'s [Access],
    guarantee: Consistency,
    /// What returned, or was invoked and did not return, after this event is not looked at.
    until: u32,
}

/// One client's only group: all that it reads is compared.
const ALL: Option<ClientId> = Some(ClientId(0));

impl<'h, K, O, R> Session<'_, 'h, K, O, R>
where
    K: Clone,
    O: std::fmt::Display,
    R: std::fmt::Display,
{
    /// The access that breaks the guarantee, and why.
    fn broken(&self, from_nowhere: Option<usize>) -> Option<(usize, Reason)> {
        if let Some(place) = from_nowhere {
            let sentence = format!("{}, but nothing can have left that behind", told(self.operation(place)));
            return Some((place, Reason { kind: "never-written".to_owned(), sentence, named: Vec::new() }));
        }
        if self.order().contradicted().is_empty() {
            return None;
        }
        // The first return that completes a contradiction: what it is part of stays one.
        let mut ends: Vec<u32> = (0..self.accesses.len()).map(|place| self.operation(place).end).collect();
        ends.sort_unstable();
        let is_fine = |end: &u32| Session { until: *end, ..*self }.order().contradicted().is_empty();
        let until = ends.get(ends.partition_point(is_fine)).copied().unwrap_or(NEVER);
        let order = Session { until, ..*self }.order();
        let contradicted = order.contradicted();
        let worth = |(_, _, claim): &&(Version, Version, Claim)| {
            (claim.kind == Kind::Promised, claim.kind == Kind::Issued, self.operation(claim.later).end)
        };
        let (older, newer, claim) = contradicted.iter().max_by_key(worth)?;
        let chain = order.chain(*newer, *older);
        Some((claim.later, self.reason(claim, &chain)))
    }

    /// All claims about the order of the versions.
    fn order(&self) -> Order<Claim> {
        let mut order = Order::new(self.accesses.len() + 1);
        self.claim_what_always_holds(&mut order);
        match self.guarantee {
            Consistency::MonotonicReads => self.claim_reads(&mut order, |_| ALL),
            Consistency::MonotonicWrites => {
                self.claim_reads(&mut order, |saw| Some(self.writer(saw)?.client))
            }
            Consistency::ReadYourWrites => self.claim_own_writes(&mut order),
            Consistency::WritesFollowReads => self.claim_writes_after_reads(&mut order),
            other => unreachable!("{other} is no session guarantee"),
        }
        order
    }

    /// The accesses that are looked at.
    fn accesses(&self) -> impl Iterator<Item = (usize, &Access)> {
        let is_seen = |(place, _): &(usize, &Access)| {
            let operation = self.operation(*place);
            if operation.is_answered() { operation.end <= self.until } else { operation.call < self.until }
        };
        self.accesses.iter().enumerate().filter(is_seen)
    }

    fn operation(&self, place: usize) -> &Operation<'h, O, R> {
        &self.operations[self.accesses[place].at]
    }

    fn writer(&self, version: Version) -> Option<&Operation<'h, O, R>> {
        (version != START).then(|| self.operation(version as usize - 1))
    }

    fn claim_what_always_holds(&self, order: &mut Order<Claim>) {
        let mut last_write: BTreeMap<ClientId, usize> = BTreeMap::new();
        for (place, access) in self.accesses().filter(|(_, access)| access.writes) {
            let own = place as Version + 1;
            order.claim(START, own, Claim { kind: Kind::Start, earlier: place, later: place });
            if let Some(found) = access.saw {
                let earlier = found.saturating_sub(1) as usize;
                order.claim(found, own, Claim { kind: Kind::Built, earlier, later: place });
            }
            let operation = self.operation(place);
            if let Some(&earlier) = last_write.get(&operation.client) {
                order.claim(earlier as Version + 1, own, Claim { kind: Kind::Issued, earlier, later: place });
            }
            if operation.is_answered() {
                last_write.insert(operation.client, place);
            }
        }
    }

    /// What a client reads later is no older, among the versions that `group` puts together.
    fn claim_reads(&self, order: &mut Order<Claim>, group: impl Fn(Version) -> Option<ClientId>) {
        let mut last: BTreeMap<(ClientId, Option<ClientId>), (Version, usize)> = BTreeMap::new();
        for (place, saw) in self.reads() {
            let Some((older, earlier)) =
                last.insert((self.operation(place).client, group(saw)), (saw, place))
            else {
                continue;
            };
            order.claim(older, saw, Claim { kind: Kind::Promised, earlier, later: place });
        }
    }

    fn claim_own_writes(&self, order: &mut Order<Claim>) {
        let mut last_write: BTreeMap<ClientId, usize> = BTreeMap::new();
        for (place, access) in self.accesses() {
            let client = self.operation(place).client;
            if let (true, Some(saw), Some(&earlier)) = (access.reads, access.saw, last_write.get(&client)) {
                order.claim(
                    earlier as Version + 1,
                    saw,
                    Claim { kind: Kind::Promised, earlier, later: place },
                );
            }
            if access.writes && self.operation(place).is_answered() {
                last_write.insert(client, place);
            }
        }
    }

    fn claim_writes_after_reads(&self, order: &mut Order<Claim>) {
        // Per client, what it read since its last answered write.
        let mut had_read: BTreeMap<ClientId, Vec<(Version, usize)>> = BTreeMap::new();
        // Per client and version, where the client read it first.
        let mut first_read: BTreeMap<(Version, ClientId), usize> = BTreeMap::new();
        for (place, access) in self.accesses() {
            let client = self.operation(place).client;
            let had_read = had_read.entry(client).or_default();
            if access.writes {
                for (saw, earlier) in had_read.iter().copied() {
                    let claim = Claim { kind: Kind::Promised, earlier, later: place };
                    order.claim(saw, place as Version + 1, claim);
                }
                if self.operation(place).is_answered() {
                    had_read.clear();
                }
            }
            if let (true, Some(saw)) = (access.reads, access.saw) {
                had_read.push((saw, place));
                first_read.entry((saw, client)).or_insert(place);
            }
        }
        // Per reader and writer, the last of the writer's writes that the reader saw, and where.
        let mut seen: BTreeMap<(ClientId, ClientId), (usize, usize)> = BTreeMap::new();
        for (place, saw) in self.reads() {
            let reader = self.operation(place).client;
            let had_read = first_read.range((saw, ClientId(0))..=(saw, ClientId(u16::MAX)));
            for ((_, writer), first) in had_read {
                if let Some(&(write, earlier)) = seen.get(&(reader, *writer))
                    && *first < write
                {
                    let claim = Claim { kind: Kind::Promised, earlier, later: place };
                    order.claim(write as Version + 1, saw, claim);
                }
            }
            if let Some(writer) = self.writer(saw) {
                let latest = seen.entry((reader, writer.client)).or_insert((saw as usize - 1, place));
                if latest.0 < saw as usize - 1 {
                    *latest = (saw as usize - 1, place);
                }
            }
        }
    }

    /// What clients were told that they saw.
    fn reads(&self) -> impl Iterator<Item = (usize, Version)> {
        let seen = |(place, access): (usize, &Access)| access.reads.then(|| Some((place, access.saw?)))?;
        self.accesses().filter_map(seen)
    }

    fn reason(&self, claim: &Claim, chain: &[(Version, Version, Claim)]) -> Reason {
        let (earlier, later) = (self.operation(claim.earlier), self.operation(claim.later));
        let kind = match (claim.kind, self.guarantee) {
            (Kind::Promised, Consistency::ReadYourWrites) => "own-write-missed",
            (Kind::Promised, Consistency::WritesFollowReads) => "overtaken",
            (Kind::Promised, _) => "went-back",
            _ => "reordered",
        };
        let shows = match earlier.ret {
            Some(ret) if !self.accesses[claim.earlier].writes => {
                format!("{} by {} had returned {}", short(earlier.op), earlier.client, short(ret))
            }
            _ => format!("{} by {} had returned", short(earlier.op), earlier.client),
        };
        let because: Vec<String> = chain.iter().map(|(_, _, claim)| self.because(claim)).collect();
        let sentence = format!(
            "{}, but {shows} at {}, which is newer: {}",
            told(later),
            clock(earlier.returned),
            because.join(", and ")
        );
        let evidence = chain.iter().flat_map(|(_, _, claim)| [claim.earlier, claim.later]);
        let mut named: Vec<_> =
            [claim.earlier].into_iter().chain(evidence).map(|place| self.operation(place).id).collect();
        let mut known = vec![later.id];
        named.retain(|id| {
            !known.contains(id) && {
                known.push(*id);
                true
            }
        });
        Reason { kind: kind.to_owned(), sentence, named }
    }

    /// Why one version is older than another.
    fn because(&self, claim: &Claim) -> String {
        let (earlier, later) = (self.operation(claim.earlier), self.operation(claim.later));
        let client = later.client;
        match claim.kind {
            Kind::Start => "nothing is older than what was there at the start".to_owned(),
            Kind::Built => format!("{} by {client} replaced the older one", short(later.op)),
            Kind::Issued => format!("{client} invoked {} before {}", short(earlier.op), short(later.op)),
            Kind::Promised => format!("{client} had seen them in that order by {}", clock(later.returned)),
        }
    }

    fn violation<S>(&self, failing: usize, reason: Reason) -> Violation
    where
        S: Spec<Op = O, Ret = R, Key = K>,
    {
        let mut chosen: Vec<usize> = self.accesses.iter().map(|access| access.at).collect();
        chosen.sort_unstable();
        let at = chosen.binary_search(&self.accesses[failing].at).expect("it is one of them");
        let part = Part::<S>::of(self.operations, &chosen, vec![self.key.clone()]);
        Violation::of_promise(self.guarantee.name(), &part, at, reason)
    }
}
