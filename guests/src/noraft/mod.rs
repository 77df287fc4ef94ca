//! The crate `noraft` (Takeru Ohta, MIT), unchanged, as a [`Replica`].
//!
//! The crate decides; what it decides of is here. Its log holds no commands, so this one does (`written`). It asks
//! for one thing after the other as if each were done at once; here a write takes its time. That is made up for
//! at the way out: the state machine runs ahead, and whatever others could learn from it (a message, a commit)
//! waits for all writes that were asked for before. A crash then takes nothing that was seen. In particular a
//! leader of the crate counts its own entry before it is durable, and nobody hears of a commit that rests on that.
//!
//! What the crate leaves to its user: the transfer of snapshots (`snapshot.rs`), and linearizable reads, which are
//! served as [`noraft::Node::heartbeat`] advises (`read.rs`). It sends again what is on its way already; that is held
//! back (`flight.rs`) unless an option says otherwise. Memberships are not changed.

mod convert;
mod flight;
mod message;
mod node;
mod options;
mod read;
mod record;
mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use contract::{
    Bug, Channel, Cluster, Command, Effect, Effects, Entry, FailureModel, Index, Mark, Membership, NodeId,
    Payload, ProtocolOptions, Recovered, Rejection, Replica, RequestId, Role, SnapshotChunk, Token, View,
};
use noraft::{Action, Actions, Log, LogEntries, Term};

pub use message::Message;
pub use options::Options;
pub use record::Record;

use flight::Flight;
use node::Node;
use read::Reads;
use snapshot::Incoming;

/// What a replica waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// As a leader to be heard from, otherwise to stand for election.
    Election,
    /// As a leader to send again what may have been lost.
    Flight,
}

/// A replica. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Noraft {
    cluster: Arc<Cluster<Options>>,
    node: Node,
    /// The log as it is in the journal or on its way there. The crate's own may be shorter: it drops what diverges
    /// before it knows what comes in its place.
    written: BTreeMap<Index, Entry>,
    /// The last write, while it is under way.
    writing: Option<Token>,
    /// Commit indices that others may hear of once a write is durable, in order.
    committed: VecDeque<(Token, Index)>,
    /// Up to where the service was handed the log, or is about to be by a snapshot.
    handed: Index,
    reads: Reads,
    flight: Flight,
    incoming: Option<Incoming>,
    /// Which snapshot each follower was sent parts of.
    outgoing: BTreeMap<NodeId, Mark>,
    /// The journal refused a write, or the crate gave up: nothing can be promised any more.
    failed: bool,
    broken: Option<&'static str>,
}

impl Replica for Noraft {
    const NAME: &'static str = "noraft";
    const CHANNEL: Channel = Channel::Datagram;
    const FAILURES: FailureModel = FailureModel { stable_storage: true, tolerated_percent: 50 };
    type Options = Options;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;

    fn start(cluster: &Cluster<Options>, durable: Recovered<Record>, fx: &mut Effects<Self>) -> Self {
        assert_eq!(cluster.options.check(), Ok(()), "options were checked when they were read");
        let applied = durable.applied;
        let folded = record::fold(durable.records, applied);
        let entries = convert::shape(folded.start, folded.entries.values());
        let log = Log::new(convert::config(&cluster.founders), entries);
        let (me, term) = (convert::id(cluster.me), Term::new(folded.term.0));
        let mut replica = Self {
            node: Node(noraft::Node::restart(me, term, folded.vote.map(convert::id), log)),
            cluster: Arc::new(cluster.clone()),
            written: folded.entries,
            writing: None,
            committed: VecDeque::new(),
            handed: applied.index,
            reads: Reads::default(),
            flight: Flight::default(),
            incoming: None,
            outgoing: BTreeMap::new(),
            failed: false,
            broken: None,
        };
        if folded.was_reset {
            replica.begin_log_behind(applied, false, fx);
        }
        replica.act(&[], 0, fx);
        replica
    }

    fn on_message(&mut self, from: NodeId, message: Message, fx: &mut Effects<Self>) {
        if self.failed {
            return;
        }
        let sender = convert::id(from);
        let term_of = |term: contract::Epoch| Term::new(term.0);
        let (heard, entries, round) = match message {
            Message::RequestVote { term, last } => {
                let (term, last_position) = (term_of(term), convert::position(last));
                (noraft::Message::RequestVoteCall { from: sender, term, last_position }, Vec::new(), 0)
            }
            Message::Vote { term, granted: vote_granted } => {
                let term = term_of(term);
                (noraft::Message::RequestVoteReply { from: sender, term, vote_granted }, Vec::new(), 0)
            }
            Message::Append { term, prev, entries, commit, round } => {
                let (term, commit_index) = (term_of(term), noraft::LogIndex::new(commit.0));
                let shape = convert::shape(prev, entries.iter());
                let call =
                    noraft::Message::AppendEntriesCall { from: sender, term, commit_index, entries: shape };
                (call, entries, round)
            }
            Message::AppendReply { term, last, round } => {
                self.reads.echoed(from, term, round);
                let (term, last_position) = (term_of(term), convert::position(last));
                (noraft::Message::AppendEntriesReply { from: sender, term, last_position }, Vec::new(), 0)
            }
            Message::Snapshot(chunk) => return self.on_part(from, chunk, fx),
            Message::SnapshotWanted { snapshot, offset } => {
                return self.send_more(from, snapshot, offset, fx);
            }
        };
        if self.node.0.handle_message(&heard).is_err() {
            (self.failed, self.broken) = (true, Some("a leader's log agrees with what a snapshot holds"));
        }
        self.act(&entries, round, fx);
    }

    fn on_timer(&mut self, timer: Timer, fx: &mut Effects<Self>) {
        match timer {
            _ if self.failed => {}
            Timer::Flight => self.forget_flight(fx),
            Timer::Election => {
                self.node.0.handle_election_timeout();
                self.act(&[], 0, fx);
            }
        }
    }

    fn on_durable(&mut self, token: Token, fx: &mut Effects<Self>) {
        if self.failed || self.installed(token, fx) {
            return;
        }
        self.writing.take_if(|writing| *writing <= token);
        while let Some((_, commit)) = self.committed.pop_front_if(|(write, _)| *write <= token) {
            self.hand_out(commit, fx);
        }
    }

    fn on_failed(&mut self, _: Token, _: &mut Effects<Self>) {
        self.failed = true;
    }

    fn on_applied(&mut self, _: Index, durable: Mark, fx: &mut Effects<Self>) {
        if !self.failed {
            self.compact(durable, fx);
        }
    }

    fn on_chunk(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        self.send_part(to, chunk, fx);
    }

    fn propose(&mut self, request: RequestId, command: Command, fx: &mut Effects<Self>) {
        if let Some(reason) = self.refusal() {
            return fx.push(Effect::Reject { request, reason });
        }
        let waiting = self.node.0.log().last_position().index.get() - self.node.0.commit_index().get();
        if waiting >= self.cluster.options.max_uncommitted {
            return fx.push(Effect::Reject { request, reason: Rejection::Overloaded });
        }
        let mark = convert::mark(self.node.0.propose_command());
        self.act(&[Entry { mark, payload: Payload::Command(command) }], 0, fx);
        fx.push(Effect::Proposed { request, mark });
    }

    fn read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        match self.refusal() {
            Some(reason) => fx.push(Effect::Reject { request, reason }),
            None => self.begin_read(request, fx),
        }
    }

    fn view(&self) -> View {
        View {
            role: convert::role(self.node.0.role()),
            epoch: convert::epoch(self.node.0.current_term()),
            leader: self.leader(),
            last: convert::mark(self.node.0.log().last_position()),
            commit: self.handed,
            broken: self.broken,
        }
    }

    fn membership(&self) -> &Membership {
        &self.cluster.founders
    }
}

impl Noraft {
    fn is_leader(&self) -> bool {
        self.node.0.role().is_leader()
    }

    /// Who may lead: the crate knows for whom it voted, and votes for whoever it hears as a leader.
    fn leader(&self) -> Option<NodeId> {
        let voted = self.node.0.voted_for().map(convert::node);
        match convert::role(self.node.0.role()) {
            Role::Leader => Some(self.cluster.me),
            _ => voted.filter(|node| *node != self.cluster.me),
        }
    }

    /// Why a request is not served here.
    fn refusal(&self) -> Option<Rejection> {
        if self.failed {
            return Some(Rejection::Stopped);
        }
        (!self.is_leader()).then(|| Rejection::NotLeader { leader: self.leader() })
    }

    /// Carries out what the crate asks for. `fresh` are the entries that came with the event, and `round` came with
    /// the append that is answered.
    fn act(&mut self, fresh: &[Entry], round: u64, fx: &mut Effects<Self>) {
        let Actions { set_election_timeout, save_current_term, save_voted_for, .. } = *self.node.0.actions();
        let actions = std::mem::take(self.node.0.actions_mut());
        if set_election_timeout {
            fx.push(Effect::SetTimer { timer: Timer::Election, within: self.timeout() });
        }
        let mut records = Vec::new();
        if save_current_term || save_voted_for {
            records.push(self.state());
        }
        if let Some(entries) = &actions.append_log_entries {
            records.extend(self.write(entries, fresh));
        }
        if !records.is_empty() {
            self.writing = Some(fx.persist(records));
        }
        for action in actions {
            match action {
                Action::SetElectionTimeout | Action::SaveCurrentTerm | Action::SaveVotedFor => {}
                Action::AppendLogEntries(_) => {}
                Action::BroadcastMessage(message) => {
                    if let noraft::Message::AppendEntriesCall { entries, .. } = &message {
                        self.note_broadcast(entries);
                    }
                    let message = self.message(message, round);
                    for peer in self.node.0.peers() {
                        self.send(convert::node(peer), message.clone(), fx);
                    }
                }
                Action::SendMessage(to, mut message) => {
                    let to = convert::node(to);
                    if let noraft::Message::AppendEntriesCall { entries, .. } = &mut message {
                        let Some(due) = self.trim(to, entries.clone()) else { continue };
                        *entries = due;
                    }
                    self.send(to, self.message(message, round), fx);
                }
                Action::InstallSnapshot(to) => self.begin_snapshot(convert::node(to), fx),
            }
        }
        let commit = convert::index(self.node.0.commit_index());
        match self.writing {
            None => self.hand_out(commit, fx),
            Some(token) if commit > self.handed => self.committed.push_back((token, commit)),
            Some(_) => {}
        }
        self.serve_reads(fx);
        self.watch_flight(fx);
    }

    fn timeout(&self) -> std::ops::RangeInclusive<Duration> {
        let Options { election_timeout_ms: (min, max), heartbeat_ms, .. } = self.cluster.options;
        let (min, max) = if self.is_leader() { (heartbeat_ms, heartbeat_ms) } else { (min, max) };
        Duration::from_millis(min)..=Duration::from_millis(max)
    }

    fn state(&self) -> Record {
        let vote = self.node.0.voted_for().map(convert::node);
        Record::State { term: convert::epoch(self.node.0.current_term()), vote }
    }

    /// The records by which the log comes to hold `entries`. The crate may name some that are there already: a
    /// write that was torn in the middle of those would take what was acknowledged, so they are left alone.
    fn write(&mut self, entries: &LogEntries, fresh: &[Entry]) -> Vec<Record> {
        let mut records = Vec::new();
        for (position, shape) in entries.iter_with_positions() {
            let mark = convert::mark(position);
            if records.is_empty() && self.written.get(&mark.index).is_some_and(|held| held.mark == mark) {
                continue;
            }
            let entry = match shape {
                noraft::LogEntry::Term(_) => Entry { mark, payload: Payload::Noop },
                _ => fresh.iter().find(|entry| entry.mark == mark).expect("what is new came with it").clone(),
            };
            record::replace_from(&mut self.written, entry.clone());
            records.push(Record::Entry(entry));
        }
        records
    }

    /// The crate's message, with what it leaves out.
    fn message(&self, message: noraft::Message, round: u64) -> Message {
        match message {
            noraft::Message::RequestVoteCall { term, last_position, .. } => {
                Message::RequestVote { term: convert::epoch(term), last: convert::mark(last_position) }
            }
            noraft::Message::RequestVoteReply { term, vote_granted, .. } => {
                Message::Vote { term: convert::epoch(term), granted: vote_granted }
            }
            noraft::Message::AppendEntriesCall { term, commit_index, entries, .. } => {
                let prev = convert::mark(entries.prev_position());
                let last = convert::index(entries.last_position().index);
                let held = self.written.range(prev.index.next()..).take_while(|(index, _)| **index <= last);
                let entries = held.map(|(_, entry)| entry.clone()).collect();
                let (term, commit) = (convert::epoch(term), convert::index(commit_index));
                Message::Append { term, prev, entries, commit, round: self.reads.round() }
            }
            noraft::Message::AppendEntriesReply { term, last_position, .. } => {
                Message::AppendReply { term: convert::epoch(term), last: convert::mark(last_position), round }
            }
        }
    }

    fn send(&self, to: NodeId, message: Message, fx: &mut Effects<Self>) {
        let hasty = match message {
            Message::Vote { .. } => self.cluster.bugs.has(Bug::VoteNotDurable),
            Message::AppendReply { .. } => self.cluster.bugs.has(Bug::AckBeforeDurable),
            _ => false,
        };
        fx.send(to, message, self.writing.filter(|_| !hasty));
    }

    /// Hands the service what is committed, in order and once.
    fn hand_out(&mut self, commit: Index, fx: &mut Effects<Self>) {
        if commit <= self.handed {
            return;
        }
        let entries: Vec<Entry> =
            self.written.range(self.handed.next()..=commit).map(|(_, e)| e.clone()).collect();
        assert_eq!(entries.len() as u64, commit.0 - self.handed.0, "the log holds what is committed");
        self.handed = commit;
        fx.push(Effect::Commit(entries));
    }
}
