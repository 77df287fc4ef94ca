//! The crate's words and the contract's.
//!
//! The crate's log holds terms and configurations, and of a command only that there is one. An entry that begins
//! a term is our [`Payload::Noop`]: nothing else is, so that either log can be told from the other.

use contract::{Entry, Epoch, Index, Mark, Membership, NodeId, Payload, Role};
use noraft::{ClusterConfig, LogEntries, LogEntry, LogIndex, LogPosition, Term};

pub(super) fn id(node: NodeId) -> noraft::NodeId {
    noraft::NodeId::new(node.0.into())
}

pub(super) fn node(id: noraft::NodeId) -> NodeId {
    NodeId::new(u16::try_from(id.get()).expect("every node was one of ours"))
}

pub(super) fn epoch(term: Term) -> Epoch {
    Epoch(term.get())
}

pub(super) fn index(index: LogIndex) -> Index {
    Index(index.get())
}

pub(super) fn mark(position: LogPosition) -> Mark {
    Mark { epoch: epoch(position.term), index: index(position.index) }
}

pub(super) fn position(mark: Mark) -> LogPosition {
    LogPosition { term: Term::new(mark.epoch.0), index: LogIndex::new(mark.index.0) }
}

pub(super) fn role(role: noraft::Role) -> Role {
    match role {
        noraft::Role::Follower => Role::Follower,
        noraft::Role::Candidate => Role::Candidate,
        noraft::Role::Leader => Role::Leader,
    }
}

/// Voters alone: the adapter changes no membership.
pub(super) fn config(membership: &Membership) -> ClusterConfig {
    let mut config = ClusterConfig::new();
    config.voters.extend(membership.voters.iter().copied().map(id));
    config.non_voters.extend(membership.learners.iter().copied().map(id));
    config
}

/// What the crate has to know of entries that stand behind `prev`.
pub(super) fn shape<'a>(prev: Mark, entries: impl Iterator<Item = &'a Entry>) -> LogEntries {
    let shapes = entries.map(|entry| match entry.payload {
        Payload::Noop => LogEntry::Term(Term::new(entry.mark.epoch.0)),
        Payload::Command(_) => LogEntry::Command,
        Payload::Membership(_) => unreachable!("the adapter changes no membership"),
    });
    LogEntries::from_iter(position(prev), shapes)
}
