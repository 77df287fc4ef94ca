//! Single-decree Paxos for every key, after L. Lamport, *Paxos Made Simple* (2001), cited as §.
//!
//! # The protocol
//!
//! For each key one value is to be decided, of those that clients propose, once and for all. Each key is an
//! instance of its own, and there is no leader and no log. Every voter plays all three parts of §2.1:
//!
//! **Proposers** (`proposer.rs`) act for clients. A *ballot* is one attempt: a round, and the node that makes
//! it, so that no two nodes share one. Phase 1 asks for promises not to accept anything of lower ballots.
//! Each comes with what the acceptor has accepted last. With the promises of a quorum the proposer knows
//! whatever could have been decided below its ballot, and must propose that: the value of the *highest*
//! ballot that they tell of (P2c). Only if they tell of none it proposes its own client's. Phase 2 asks to
//! accept it.
//!
//! **Acceptors** (`acceptor.rs`) promise, and accept whatever no promise forbids (P1a). They are the memory:
//! a promise or an acceptance is durable before it is told.
//!
//! **Learners** (`learner.rs`) hear of every acceptance. A value is decided once a quorum has accepted it in
//! *one* ballot. A node that has learnt a value answers every later client of that key at once.
//!
//! **Ballots are unique across restarts.** A proposer promises its own acceptor a ballot before it uses it,
//! and no message of the ballot leaves before that promise is durable. A restarted proposer begins above
//! what its acceptor has promised.
//!
//! **Progress.** An acceptor that refuses says what it has promised. A proposer that was refused waits, for
//! a time that the world draws, and tries again above that ballot: of two that get into each other's way
//! one is soon alone for long enough (§2.4 would have them elect a leader). What was lost is sent again
//! within the ballot.
//!
//! # Retries are safe
//!
//! A client that asks again, here or elsewhere, proposes the same value for the same key. However often that
//! happens one value is decided, and each answer tells which.
//!
//! # Invariants
//!
//! - An acceptor's ballots never fall: what it has promised is at least what it has accepted.
//! - In a ballot one value is proposed, and it is the decided one if a lower ballot has decided.
//! - What is decided here is never changed.
//!
//! Those that hold only because *others* keep to the protocol are not asserted; a message that contradicts
//! one is told of by [`Paxos::broken_law`].
//!
//! # Deviations from the paper
//!
//! - Acceptors tell every node what they accept; there is no distinguished learner (§2.3 has both). A node
//!   that missed it and has a client finds out by proposing.
//! - A node writes to itself like to anyone else.
//! - No instance is ever forgotten, since somebody may still ask for its value. The journal stays short as
//!   `keyed_journal` tells: it holds the last record of each key, and at most as much again.
//! - The group never changes.

mod acceptor;
mod learner;
mod message;
mod options;
mod proposer;
mod record;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use contract::kv::{Op, Ret};
use contract::{
    Answers, Bytes, Channel, Cluster, Command, Effect, Effects, Epoch, FailureModel, Index, LogShape, Mark,
    Membership, NodeId, ProtocolOptions, Recovered, Replica, RequestId, Role, Service, SnapshotChunk, Token,
    View,
};
use serde::{Deserialize, Serialize};

pub use message::Message;
pub use options::Options;
pub use record::Record;

use crate::KvService;
use crate::keyed_journal::KeyedJournal;
use acceptor::Acceptor;
use learner::Learner;
use proposer::Proposer;

/// One attempt to have a value decided: of two the one of the later round is higher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// Counted by whoever makes the attempt.
    pub round: u64,
    /// Who makes it.
    pub node: NodeId,
}

/// A value in a ballot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Proposal {
    /// In which ballot.
    pub ballot: Ballot,
    /// What is proposed.
    pub value: Bytes,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Proposers that were refused try again, and the others repeat what may have been lost.
    Retry,
}

/// A law that holds as long as every replica keeps to the protocol and its disk to its promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// In a ballot one value is proposed: two acceptors have accepted different ones in it.
    OneValuePerBallot,
    /// Once a ballot has decided, every higher one proposes its value (P2b): one proposed another.
    Agreement,
}

impl Law {
    /// The law's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneValuePerBallot => "one value per ballot",
            Self::Agreement => "agreement",
        }
    }
}

/// A replica. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Paxos {
    cluster: Arc<Cluster<Options>>,
    acceptors: BTreeMap<Bytes, Acceptor>,
    /// What is being decided for clients of this node.
    proposers: BTreeMap<Bytes, Proposer>,
    learners: BTreeMap<Bytes, Learner>,
    journal: KeyedJournal,
    /// The highest round that was promised, of any key.
    round: u64,
    broken: Option<Law>,
}

impl Replica for Paxos {
    const NAME: &'static str = "paxos";
    const CHANNEL: Channel = Channel::Datagram;
    const FAILURES: FailureModel = FailureModel { stable_storage: true, tolerated_percent: 50 };
    const LOG: LogShape = LogShape::None;
    const ANSWERS: Answers = Answers::Replica;
    const OPERATIONS: &'static [&'static str] = &["decide"];
    type Options = Options;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;

    fn start(cluster: &Cluster<Options>, durable: Recovered<Record>, _: &mut Effects<Self>) -> Self {
        assert_eq!(cluster.options.check(), Ok(()), "options were checked when they were read");
        let journal = KeyedJournal::recovered(durable.records.len(), cluster.options.rewrite_after);
        let acceptors = acceptor::fold(durable.records);
        let round = acceptors.values().map(|acceptor| acceptor.promised.round).max().unwrap_or(0);
        Self {
            cluster: Arc::new(cluster.clone()),
            acceptors,
            proposers: BTreeMap::new(),
            learners: BTreeMap::new(),
            journal,
            round,
            broken: None,
        }
    }

    fn on_message(&mut self, from: NodeId, message: Message, fx: &mut Effects<Self>) {
        match message {
            Message::Prepare { key, ballot } => self.on_prepare(from, key, ballot, fx),
            Message::Promise { key, ballot, accepted } => self.on_promise(from, key, ballot, accepted, fx),
            Message::Accept { key, proposal } => self.on_accept(from, key, proposal, fx),
            Message::Accepted { key, proposal } => self.on_accepted(from, key, proposal, fx),
            Message::Refused { key, ballot, promised } => self.on_refused(&key, ballot, promised),
        }
    }

    fn on_timer(&mut self, _: Timer, fx: &mut Effects<Self>) {
        self.retry(fx);
    }

    fn on_durable(&mut self, token: Token, _: &mut Effects<Self>) {
        self.journal.on_durable(token);
    }

    /// What waits for this write, or for a later one, never leaves.
    fn on_failed(&mut self, _: Token, _: &mut Effects<Self>) {}

    fn propose(&mut self, request: RequestId, command: Command, fx: &mut Effects<Self>) {
        let (key, value) = match KvService::decode(&command.data).op {
            Op::Decide { key, value } => (key, value),
            other => unreachable!("{} is none of the operations served", other.name()),
        };
        match self.learners.get(&key).and_then(Learner::decided) {
            Some(decided) => answer(request, decided.clone(), fx),
            None => self.propose_for(request, key, value, fx),
        }
    }

    fn read(&mut self, request: RequestId, _: &mut Effects<Self>) {
        unreachable!("{request}: of a protocol that answers by itself, reads are proposed");
    }

    fn on_applied(&mut self, applied: Index, _: Mark, _: &mut Effects<Self>) {
        unreachable!("{applied} was never committed: there is no log");
    }

    fn on_chunk(&mut self, to: NodeId, _: SnapshotChunk, _: &mut Effects<Self>) {
        unreachable!("no snapshot is sent to {to}");
    }

    fn view(&self) -> View {
        let role = if self.proposers.is_empty() { Role::Follower } else { Role::Candidate };
        View {
            role,
            epoch: Epoch(self.round),
            leader: None,
            last: Mark::ZERO,
            commit: Index::ZERO,
            broken: self.broken.map(Law::name),
        }
    }

    fn membership(&self) -> &Membership {
        &self.cluster.founders
    }
}

impl Paxos {
    /// The first law that a message of another replica was seen to break.
    pub fn broken_law(&self) -> Option<Law> {
        self.broken
    }

    fn breaks(&mut self, law: Law) {
        self.broken.get_or_insert(law);
    }

    /// Sends to every voter, this node among them if it is one.
    fn broadcast(&self, message: &Message, after: Option<Token>, fx: &mut Effects<Self>) {
        for voter in &self.cluster.founders.voters {
            fx.send(*voter, message.clone(), after);
        }
    }
}

fn answer(request: RequestId, decided: Bytes, fx: &mut Effects<Paxos>) {
    let answer = KvService::encode_answer(&Ret::Value(Some(decided)));
    fx.push(Effect::Reply { request, answer, after: None });
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.node)
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"@{}", self.value, self.ballot)
    }
}
