//! Raft, after D. Ongaro and J. Ousterhout, *In Search of an Understandable Consensus Algorithm*
//! (extended version, 2014), cited as §, and Ongaro's dissertation (2014), cited as such.
//!
//! # The protocol
//!
//! A cluster of replicas keeps a log of commands, the same everywhere, and each applies it to its
//! service. *Terms* number the reigns. In each at most one replica leads: it takes the commands of
//! clients, appends them to its log and sends them to the others, who follow. An entry that a quorum
//! holds durably is *committed*: no later leader can be without it, and it may be applied.
//!
//! **Elections** (§5.2, `election.rs`). Whoever hears no leader for a randomised time votes for itself
//! in a new term and asks the others. Each votes once per term, and only for a log at least as up to
//! date as its own (§5.4.1): so a winner holds all that is committed.
//!
//! **Replication** (§5.3, `replication.rs`, `progress.rs`). An append names the entry before its own; a
//! follower that does not hold that one rejects it, with a hint where to try next. Once the logs are
//! known to agree appends follow each other without waiting. A follower removes entries only where
//! they conflict with the leader's.
//!
//! **Commitment** (§5.4.2). A leader counts only entries of its own term. It begins its reign with an
//! empty one, which commits what its predecessors left (§8).
//!
//! **Durability** (Fig. 2, dissertation §10.2.1). What a message promises is durable before the
//! message leaves: the message carries the token of that write. A leader's own disk works while the
//! others' do; it counts itself when its write is durable, not before.
//!
//! **Compaction** (§7, `snapshot.rs`). The log drops what the service durably includes. A follower
//! that needs what was dropped is sent the service's state, in parts.
//!
//! **Reads** (dissertation §6.4, `read.rs`) take no place in the log.
//!
//! # Invariants
//!
//! - Terms and commit indices never fall; a vote is never changed within a term.
//! - A leader only ever appends to its log (Leader Append-Only, Fig. 3).
//! - Nothing that is committed is ever removed or replaced.
//! - Nothing is acknowledged, and no vote counted, before it is durable.
//! - While a snapshot is installed the log and the commit index stand still, and the replica does
//!   not stand for election.
//!
//! These are asserted. Laws that hold only because *others* keep to the protocol are not: a message
//! that contradicts one is dropped, and [`Raft::broken_law`] tells. It proves that some replica lied,
//! and a crash of this one would hide which.
//!
//! # Deviations from the paper
//!
//! - A candidate's requests wait for its own vote and its log to be durable. The paper has only
//!   answers wait.
//! - A rejection's hint skips by terms from both sides: the follower names its last entry whose term
//!   is not above the probe's, the leader goes on to its own last entry whose term is not above that.
//! - A follower ignores what an append says about entries that it knows to be committed, and its
//!   acknowledgement reaches at least up to them.
//! - A heartbeat stands behind the last entry *sent*, not the last one acknowledged: its rejection
//!   tells that an append was lost.
//! - A leader that heard from no quorum for the longest election timeout steps down within its term
//!   (dissertation §6.2; option `check-quorum`).
//! - The election timer is armed again by a *granted* vote and by a leader's message, not by a higher
//!   term alone.
//! - A snapshot is installed as a whole when its last part has come, and a suffix of the log stays
//!   only if it follows the snapshot's last entry.
//! - Membership is fixed. There is no pre-vote, no leadership transfer and no lease.

mod election;
mod log;
mod message;
mod options;
mod progress;
mod quorum;
mod read;
mod record;
mod replication;
mod snapshot;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use contract::{
    Channel, Cluster, Command, Effect, Effects, Epoch, FailureModel, Index, Mark, Membership, NodeId,
    Payload, ProtocolOptions, Recovered, Rejection, Replica, RequestId, Role, SnapshotChunk, Token, View,
};

pub use message::Message;
pub use options::{OptionError, Options};
pub use record::Record;

use log::Log;
use progress::Progress;
use read::Reads;
use snapshot::Incoming;

/// What a replica waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A follower or candidate: to stand for election. A leader: to count who is still there.
    Election,
    /// A leader: to be heard from.
    Heartbeat,
}

/// A law that holds as long as every replica keeps to the protocol and its disk to its promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// At most one leader per term (Fig. 3): another claims to lead this one's term.
    ElectionSafety,
    /// A leader of a term never loses what it appended in it (Fig. 3): a follower answers what this
    /// leader never said.
    LeaderAppendOnly,
    /// What is committed is in every later leader's log (Fig. 3): a leader's entry conflicts with it.
    LeaderCompleteness,
}

impl Law {
    /// The law's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ElectionSafety => "election safety",
            Self::LeaderAppendOnly => "leader append-only",
            Self::LeaderCompleteness => "leader completeness",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A replica. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    cluster: Arc<Cluster<Options>>,
    /// `currentTerm`.
    term: Epoch,
    /// `votedFor` in the current term.
    vote: Option<NodeId>,
    /// Term or vote changed and no write holds them yet; only ever true within a step.
    unsaved: bool,
    /// The write that holds term and vote, while it is under way.
    saving: Option<Token>,
    log: Log,
    commit: Index,
    standing: Standing,
    /// A snapshot that is being received.
    incoming: Option<Incoming>,
    /// The journal refused a write: nothing can be promised any more.
    failed: bool,
    broken: Option<Law>,
}

/// What a replica is in its term, and what it knows by that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Standing {
    Follower {
        /// Whoever was heard from as the leader of this term.
        leader: Option<NodeId>,
    },
    Candidate {
        votes: BTreeSet<NodeId>,
    },
    Leader(Leading),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Leading {
    /// Every other member, in their order.
    peers: Vec<Progress>,
    reads: Reads,
    /// The first entry of its own term.
    first: Index,
}

impl Leading {
    fn slot_of(&self, peer: NodeId) -> usize {
        let slot = self.peers.iter().position(|progress| progress.peer == peer);
        slot.expect("membership was asserted where the message entered")
    }
}

impl Replica for Raft {
    const NAME: &'static str = "raft";
    const CHANNEL: Channel = Channel::Datagram;
    const FAILURES: FailureModel = FailureModel { stable_storage: true, tolerated_percent: 50 };
    type Options = Options;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;

    fn start(cluster: &Cluster<Options>, durable: Recovered<Record>, fx: &mut Effects<Self>) -> Self {
        assert!(cluster.founders.votes(cluster.me), "{} is not a member of its cluster", cluster.me);
        assert_eq!(cluster.options.check(), Ok(()), "options were checked when they were read");
        let applied = durable.applied;
        let record::Folded { term, vote, log, was_reset } = record::fold(durable.records, applied);
        let mut raft = Self {
            cluster: Arc::new(cluster.clone()),
            term,
            vote,
            unsaved: false,
            saving: None,
            log,
            commit: applied.index,
            standing: Standing::Follower { leader: None },
            incoming: None,
            failed: false,
            broken: None,
        };
        if was_reset {
            raft.begin_log_behind(Record::Reset { mark: applied }, applied, fx);
        }
        raft.arm_election_timer(fx);
        raft.assert_laws();
        raft
    }

    fn on_message(&mut self, from: NodeId, message: Message, fx: &mut Effects<Self>) {
        if self.failed {
            return;
        }
        assert!(from != self.cluster.me, "nobody writes to themselves");
        assert!(self.cluster.founders.contains(from), "{from} is not a member");
        if message.term() < self.term {
            return self.refuse_outdated(from, &message, fx);
        }
        if message.term() > self.term {
            self.enter_term(message.term(), fx);
        }
        match message {
            Message::RequestVote { last, .. } => self.answer_candidate(from, last, fx),
            Message::Vote { granted: true, .. } => self.count_vote(from, fx),
            Message::Vote { granted: false, .. } | Message::Outdated { .. } => {}
            Message::Append { prev, entries, commit, round, .. } => {
                if self.follow(from, fx) {
                    self.on_append(from, prev, entries, commit, round, fx);
                }
            }
            Message::InstallSnapshot { chunk, round, .. } => {
                if self.follow(from, fx) {
                    self.on_chunk_received(from, chunk, round, fx);
                }
            }
            Message::AppendAck { matched, round, .. } => self.on_ack(from, matched, round, fx),
            Message::AppendReject { rejected, hint, round, .. } => {
                self.on_reject(from, rejected, hint, round, fx);
            }
            Message::SnapshotAck { snapshot, offset, round, .. } => {
                self.on_snapshot_ack(from, snapshot, offset, round, fx);
            }
        }
        self.save(fx);
        self.assert_laws();
    }

    fn on_timer(&mut self, timer: Timer, fx: &mut Effects<Self>) {
        match timer {
            _ if self.failed => {}
            Timer::Election if self.is_leader() => self.check_quorum(fx),
            Timer::Election => self.campaign(fx),
            Timer::Heartbeat => self.on_heartbeat_timer(fx),
        }
        self.assert_laws();
    }

    fn on_durable(&mut self, token: Token, fx: &mut Effects<Self>) {
        if self.failed {
            return;
        }
        if self.installs(token) {
            self.on_installed(fx);
        } else {
            let grew = self.log.on_durable(token);
            if self.saving.is_some_and(|saving| saving <= token) {
                self.saving = None;
                self.count_vote(self.cluster.me, fx);
            }
            if grew && self.is_leader() {
                self.advance_commit(fx);
            }
        }
        self.assert_laws();
    }

    fn on_failed(&mut self, _token: Token, fx: &mut Effects<Self>) {
        if self.failed {
            return;
        }
        self.failed = true;
        let leading = self.resign(None, fx);
        for request in leading.into_iter().flat_map(|leading| leading.reads.into_requests()) {
            fx.push(Effect::Reject { request, reason: Rejection::Stopped });
        }
        fx.push(Effect::CancelTimer(Timer::Election));
    }

    fn on_applied(&mut self, applied: Index, durable: Mark, fx: &mut Effects<Self>) {
        // The entries that this tells of are about to be replaced, or can no longer be written down.
        if self.failed || self.is_installing() {
            return;
        }
        assert!(applied <= self.commit, "only what is committed is applied");
        assert!(durable.index <= applied, "only what is applied is durable");
        self.compact(durable, fx);
        self.assert_laws();
    }

    fn on_chunk(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        self.send_chunk(to, chunk, fx);
    }

    fn propose(&mut self, request: RequestId, command: Command, fx: &mut Effects<Self>) {
        if let Some(reason) = self.refusal() {
            return fx.push(Effect::Reject { request, reason });
        }
        let mark = self.append_own(Payload::Command(command), fx);
        fx.push(Effect::Proposed { request, mark });
        self.assert_laws();
    }

    fn read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        if self.failed {
            return fx.push(Effect::Reject { request, reason: Rejection::Stopped });
        }
        self.serve_read(request, fx);
    }

    fn view(&self) -> View {
        let role = match self.standing {
            Standing::Follower { .. } => Role::Follower,
            Standing::Candidate { .. } => Role::Candidate,
            Standing::Leader(_) => Role::Leader,
        };
        let (last, commit) = (self.log.last(), self.commit);
        View {
            role,
            epoch: self.term,
            leader: self.leader(),
            last,
            commit,
            broken: self.broken.map(Law::name),
        }
    }

    fn membership(&self) -> &Membership {
        &self.cluster.founders
    }
}

impl Raft {
    /// The first law that a message of another replica was seen to break.
    pub fn broken_law(&self) -> Option<Law> {
        self.broken
    }

    /// The entries that the log holds, and the mark behind which they begin.
    pub fn entries(&self) -> (Mark, impl Iterator<Item = &contract::Entry>) {
        (self.log.start(), self.log.entries())
    }

    fn breaks(&mut self, law: Law) {
        self.broken.get_or_insert(law);
    }

    fn is_leader(&self) -> bool {
        matches!(self.standing, Standing::Leader(_))
    }

    fn leader(&self) -> Option<NodeId> {
        match self.standing {
            Standing::Follower { leader } => leader,
            Standing::Candidate { .. } => None,
            Standing::Leader(_) => Some(self.cluster.me),
        }
    }

    fn leading(&self) -> &Leading {
        match &self.standing {
            Standing::Leader(leading) => leading,
            Standing::Follower { .. } | Standing::Candidate { .. } => panic!("only leaders lead"),
        }
    }

    /// Why a proposal cannot be taken now.
    fn refusal(&self) -> Option<Rejection> {
        let uncommitted = self.log.last().index.0 - self.commit.0;
        if self.failed {
            Some(Rejection::Stopped)
        } else if !self.is_leader() {
            Some(Rejection::NotLeader { leader: self.leader() })
        } else if uncommitted >= self.cluster.options.max_uncommitted {
            Some(Rejection::Overloaded)
        } else {
            None
        }
    }

    /// A message of a term that is over: whoever still asks for something in it must learn of the
    /// current one (§5.1). Answers of that term are void.
    fn refuse_outdated(&self, from: NodeId, message: &Message, fx: &mut Effects<Self>) {
        let term = self.term;
        match message {
            Message::RequestVote { .. } => fx.send(from, Message::Vote { term, granted: false }, None),
            Message::Append { .. } | Message::InstallSnapshot { .. } => {
                fx.send(from, Message::Outdated { term }, None);
            }
            Message::Vote { .. }
            | Message::AppendAck { .. }
            | Message::AppendReject { .. }
            | Message::SnapshotAck { .. }
            | Message::Outdated { .. } => {}
        }
    }

    /// A higher term was seen: nobody is known to lead it, and the vote is free again (§5.1).
    fn enter_term(&mut self, term: Epoch, fx: &mut Effects<Self>) {
        assert!(term > self.term, "terms never fall");
        (self.term, self.vote, self.unsaved) = (term, None, true);
        self.step_down(None, fx);
    }

    /// Becomes a follower.
    fn step_down(&mut self, leader: Option<NodeId>, fx: &mut Effects<Self>) {
        let Some(leading) = self.resign(leader, fx) else { return };
        for request in leading.reads.into_requests() {
            fx.push(Effect::Reject { request, reason: Rejection::NotLeader { leader } });
        }
        // The others have theirs armed: a leader's served another purpose.
        self.arm_election_timer(fx);
    }

    fn resign(&mut self, leader: Option<NodeId>, fx: &mut Effects<Self>) -> Option<Leading> {
        match std::mem::replace(&mut self.standing, Standing::Follower { leader }) {
            Standing::Leader(leading) => {
                fx.push(Effect::CancelTimer(Timer::Heartbeat));
                Some(leading)
            }
            Standing::Follower { .. } | Standing::Candidate { .. } => None,
        }
    }

    /// Someone leads the current term. Whether to listen.
    fn follow(&mut self, from: NodeId, fx: &mut Effects<Self>) -> bool {
        if self.leader().is_some_and(|leader| leader != from) {
            self.breaks(Law::ElectionSafety);
        }
        if self.is_leader() {
            return false;
        }
        self.standing = Standing::Follower { leader: Some(from) };
        self.arm_election_timer(fx);
        true
    }

    /// Writes records, behind term and vote if those have changed.
    fn write(&mut self, mut records: Vec<Record>, fx: &mut Effects<Self>) -> Token {
        let changed = std::mem::take(&mut self.unsaved);
        if changed {
            records.insert(0, Record::State { term: self.term, vote: self.vote });
        }
        let token = fx.persist(records);
        if changed {
            self.saving = Some(token);
        }
        token
    }

    /// Writes term and vote if they have changed.
    fn save(&mut self, fx: &mut Effects<Self>) {
        if self.unsaved {
            self.write(Vec::new(), fx);
        }
    }

    fn assert_laws(&self) {
        assert!(!self.unsaved, "hard state is written in the step that changes it");
        assert!(self.commit <= self.log.last().index, "only entries that exist are committed");
        assert!(self.commit >= self.log.start().index, "only committed entries leave the log");
        assert!(self.term >= self.log.last().epoch, "no entry is of a term that has not begun");
        let follows = matches!(self.standing, Standing::Follower { .. });
        assert!(follows || self.vote == Some(self.cluster.me), "who stands votes for itself");
        assert!(!(self.is_leader() && self.is_installing()), "a leader has all that is committed");
    }
}
