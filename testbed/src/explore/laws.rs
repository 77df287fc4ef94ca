//! What must hold, by the names of the monitors that watch simulated runs.
//!
//! A law is looked at in each transition, and a state in which one was broken leads nowhere. What a law
//! has to know of the past is part of the state: who led each epoch, and what was ever committed. All
//! else is a function of the states before and after, so that a state is not told from another by a past
//! that no longer matters.

use std::fmt;
use std::sync::Arc;

use contract::{Entry, Epoch, Index, JournalRecord, LogShape, Mark, NodeId, Payload, Replica, Role, View};
use protocols::KvService;

use super::node::Output;
use super::state::Site;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Law {
    /// At most one leader per epoch (Raft §5.2).
    OneLeader,
    /// An index and an epoch identify one entry and one prefix (Raft §5.3), in the logs as they stand.
    LogMatching,
    /// Whoever leads a later epoch holds all that was committed (Raft §5.4).
    LeaderCompleteness,
    /// What is committed at an index is so for ever, and everywhere (Raft §5.4.3).
    StateMachineSafety,
    /// An acceptor accepts nothing below what it has promised, and a ballot proposes one value in a slot
    /// (Paxos Made Simple, §2.2), in the journals as they stand.
    PromisesKept,
    /// The commit index and the epoch never fall while a node is up.
    CommitMonotonic,
    /// Nobody is told what contradicts a law of the protocol.
    ProtocolLaws,
    /// Clients see one copy of the service.
    Linearizable,
    /// What the code under test asserts.
    Asserts,
}

impl Law {
    pub(super) const ALL: [Self; 9] = [
        Self::OneLeader,
        Self::LogMatching,
        Self::LeaderCompleteness,
        Self::StateMachineSafety,
        Self::PromisesKept,
        Self::CommitMonotonic,
        Self::ProtocolLaws,
        Self::Linearizable,
        Self::Asserts,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OneLeader => "one-leader-per-term",
            Self::LogMatching => "log-matching",
            Self::LeaderCompleteness => "leader-completeness",
            Self::StateMachineSafety => "state-machine-safety",
            Self::PromisesKept => "promises-kept",
            Self::CommitMonotonic => "commit-monotonic",
            Self::ProtocolLaws => "protocol-laws",
            Self::Linearizable => "linearizable",
            Self::Asserts => "asserts",
        }
    }
}

/// A law that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Broken {
    pub(super) law: Law,
    pub(super) message: Arc<str>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law.name(), self.message)
    }
}

pub(super) fn broken(law: Law, message: impl AsRef<str>) -> Broken {
    Broken { law, message: message.as_ref().into() }
}

/// What laws have to know of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Past {
    /// In order of epochs.
    leaders: Vec<(Epoch, NodeId)>,
    /// What was committed, from index 1 on, each with the epoch of whoever said so first.
    committed: Vec<(Entry, Epoch)>,
}

/// A node's log: what its journal holds and what it was asked to hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// Behind which index it begins.
    start: Index,
    entries: Vec<Entry>,
}

impl Log {
    /// What records amount to, the oldest of which may be gone.
    pub(super) fn of<'a, Rec: JournalRecord + 'a>(records: impl Iterator<Item = &'a Rec>) -> Self {
        let mut log = Self::default();
        for record in records {
            if let Some(start) = record.log_start() {
                // Without that entry the log held nothing of what it begins behind.
                match log.entries.iter().position(|entry| entry.mark == start) {
                    Some(place) => drop(log.entries.drain(..=place)),
                    None => log.entries.clear(),
                }
                log.start = start.index;
            }
            if let Some(entry) = record.entry() {
                let before = entry.mark.index.prev();
                log.entries.retain(|held| held.mark.index <= before);
                if log.entries.is_empty() && before != log.start {
                    log.start = before;
                }
                log.entries.push(entry.clone());
            }
        }
        log
    }

    fn at(&self, mark: Mark) -> Option<usize> {
        self.entries.iter().position(|entry| entry.mark == mark)
    }
}

/// What a node's journal says that it promised and accepted.
#[derive(Clone, Debug, Default)]
pub(super) struct Acceptor {
    accepted: Vec<(Mark, Payload)>,
    /// A promise, and the lower ballot that it promised or accepted behind it.
    went_back: Option<(Epoch, Epoch)>,
}

impl Acceptor {
    /// What records amount to, the oldest of which may be gone.
    pub(super) fn of<'a, Rec: JournalRecord + 'a>(records: impl Iterator<Item = &'a Rec>) -> Self {
        let (mut acceptor, mut promised) = (Self::default(), Epoch::ZERO);
        for record in records {
            let ballots = [record.promised(), record.accepted().map(|mark| mark.epoch)];
            for ballot in ballots.into_iter().flatten() {
                if ballot < promised {
                    acceptor.went_back.get_or_insert((promised, ballot));
                }
                promised = ballot;
            }
            if let (Some(mark), Some(entry)) = (record.accepted(), record.entry()) {
                acceptor.accepted.push((mark, entry.payload.clone()));
            }
        }
        acceptor
    }
}

/// Whether the same is meant: who got a slot decided is not what was decided.
fn same<R: Replica>(one: &Entry, other: &Entry) -> bool {
    one.payload == other.payload && (one.mark == other.mark || R::LOG != LogShape::Chain)
}

impl Past {
    /// How many epochs were led.
    pub(super) fn reigns(&self) -> usize {
        self.leaders.len()
    }

    /// Whether something that came of what happened to a node is to be looked at and remembered.
    pub(super) fn concerns<R: Replica>(out: &Output<R>) -> bool {
        !(out.steps.is_empty() && out.committed.is_empty() && out.installed.is_none())
    }

    /// Looks at what came of something that happened to a node, and remembers it.
    pub(super) fn look<R: Replica>(&mut self, me: NodeId, site: &Site<R>, out: &Output<R>) -> Option<Broken> {
        // Before the leaders: who leads and commits in one step had that to itself until then.
        let led = out.steps.iter().find_map(|(before, after)| self.step::<R>(me, before, after, site));
        let committed = out.committed.iter().find_map(|entry| self.commit::<R>(me, entry, site.view.epoch));
        let installed = out.installed.iter().flatten().find_map(|entry| self.install::<R>(me, entry));
        led.or(committed).or(installed)
    }

    fn step<R: Replica>(
        &mut self,
        me: NodeId,
        before: &View,
        after: &View,
        site: &Site<R>,
    ) -> Option<Broken> {
        if let Some(law) = after.broken {
            return Some(broken(Law::ProtocolLaws, format!("{me} was told what breaks {law}")));
        }
        if after.commit < before.commit {
            let (from, to) = (before.commit, after.commit);
            let message = format!("the commit index of {me} went back from {from} to {to}");
            return Some(broken(Law::CommitMonotonic, message));
        }
        if after.epoch < before.epoch {
            let (from, to) = (before.epoch, after.epoch);
            return Some(broken(
                Law::CommitMonotonic,
                format!("the term of {me} went back from {from} to {to}"),
            ));
        }
        let elected = before.role != Role::Leader || before.epoch != after.epoch;
        if after.role == Role::Leader && elected { self.elect::<R>(me, after.epoch, &site.log) } else { None }
    }

    fn elect<R: Replica>(&mut self, me: NodeId, epoch: Epoch, log: &Log) -> Option<Broken> {
        match self.leaders.binary_search_by_key(&epoch, |(epoch, _)| *epoch) {
            Ok(place) if self.leaders[place].1 != me => {
                let other = self.leaders[place].1;
                let message = format!("{me} became leader of {epoch}, which {other} already led");
                return Some(broken(Law::OneLeader, message));
            }
            Ok(_) => {}
            Err(place) => self.leaders.insert(place, (epoch, me)),
        }
        // What is kept in memory alone, as VR's log is, is in no journal that could be looked at.
        if R::LOG != LogShape::Chain || !R::FAILURES.stable_storage {
            return None;
        }
        let lacks = |(entry, said): &&(Entry, Epoch)| {
            *said < epoch && entry.mark.index > log.start && !log.entries.contains(entry)
        };
        let (entry, _) = self.committed.iter().find(lacks)?;
        let message = format!("{me} became leader of {epoch} without the committed entry {}", entry.mark);
        Some(broken(Law::LeaderCompleteness, message))
    }

    fn commit<R: Replica>(&mut self, me: NodeId, entry: &Entry, epoch: Epoch) -> Option<Broken> {
        let place = usize::try_from(entry.mark.index.0).expect("a log is short").checked_sub(1)?;
        match self.committed.get(place) {
            Some((known, _)) if same::<R>(known, entry) => None,
            Some((known, _)) => {
                let message = format!(
                    "{me} took {} with {} for committed, where {} with {} was",
                    entry.mark,
                    told(entry),
                    known.mark,
                    told(known)
                );
                Some(broken(Law::StateMachineSafety, message))
            }
            None if place > self.committed.len() => {
                let message = format!("{me} took {} for committed before what stands before it", entry.mark);
                Some(broken(Law::StateMachineSafety, message))
            }
            None => {
                self.committed.push((entry.clone(), epoch));
                None
            }
        }
    }

    fn install<R: Replica>(&self, me: NodeId, entry: &Entry) -> Option<Broken> {
        let place = usize::try_from(entry.mark.index.0).expect("a log is short") - 1;
        let known = self.committed.get(place).is_some_and(|(known, _)| same::<R>(known, entry));
        let message =
            || format!("{me} installed a snapshot with an entry {} that was not committed", entry.mark);
        (!known).then(|| broken(Law::StateMachineSafety, message()))
    }
}

fn told(entry: &Entry) -> String {
    match &entry.payload {
        Payload::Noop => "nothing in it".to_owned(),
        Payload::Command(command) => KvService::decode(&command.data).op.to_string(),
        Payload::Membership(membership) => format!("the members {membership}"),
    }
}

/// Whether a node's journal agrees with each other one, as they stand.
pub(super) fn journals<R: Replica>(me: NodeId, sites: &[Arc<Site<R>>]) -> Option<Broken> {
    match R::LOG {
        LogShape::Chain => log_matching(me, sites),
        LogShape::Slots => promises_kept(me, sites),
        LogShape::None => None,
    }
}

/// Whether a node's acceptor keeps its promises, and its ballots' values are those of the others.
fn promises_kept<R: Replica>(me: NodeId, sites: &[Arc<Site<R>>]) -> Option<Broken> {
    let mine = &sites[me.slot()].acceptor;
    if let Some((promised, ballot)) = mine.went_back {
        let message = format!("{me} went back from its promise of {promised} to {ballot}");
        return Some(broken(Law::PromisesKept, message));
    }
    others(me, sites).find_map(|(other, site)| {
        let theirs = &site.acceptor.accepted;
        let differs = |(mark, value): &&(Mark, Payload)| {
            theirs.iter().any(|(same, another)| same == mark && another != value)
        };
        let (mark, _) = mine.accepted.iter().find(differs)?;
        Some(broken(Law::PromisesKept, format!("{me} and {other} accepted different values at {mark}")))
    })
}

fn others<R: Replica>(me: NodeId, sites: &[Arc<Site<R>>]) -> impl Iterator<Item = (NodeId, &Arc<Site<R>>)> {
    (1..).map(NodeId).zip(sites).filter(move |(other, _)| *other != me)
}

/// Whether a node's log agrees with each other one, as they stand.
fn log_matching<R: Replica>(me: NodeId, sites: &[Arc<Site<R>>]) -> Option<Broken> {
    let mine = &sites[me.slot()].log;
    others(me, sites).find_map(|(other, site)| {
        // Where two logs agree they must agree on all before that both hold.
        let shared = |(here, entry): (usize, &Entry)| Some((here, site.log.at(entry.mark)?));
        let (here, there) = mine.entries.iter().enumerate().rev().find_map(shared)?;
        let mut pairs = mine.entries[..=here].iter().rev().zip(site.log.entries[..=there].iter().rev());
        let (entry, _) = pairs.find(|(one, two)| one != two)?;
        let last = mine.entries[here].mark;
        let message = format!("{me} and {other} agree at {last} but not on {}", entry.mark);
        Some(broken(Law::LogMatching, message))
    })
}
