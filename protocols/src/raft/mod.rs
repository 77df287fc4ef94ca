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
//! **Reads** (dissertation §6.4, `read.rs`, `lease.rs`) take no place in the log. A quorum confirms the leader for
//! each, or has promised it a lease.
//!
//! **Membership** (§6, dissertation §4, `reconfigure.rs`). Who votes is an entry of the log and changes with it, by
//! joint consensus or one voter at a time. Every quorum (of votes, acknowledgements, echoes and signs of life)
//! is one of the latest membership in the log ([`Membership::is_quorum`]). *Learners* are sent the log and
//! count towards nothing. *Witnesses* vote and keep a log without a state (`witness.rs`).
//!
//! **Handover** (dissertation §3.10, `handover.rs`). A leader brings its successor up to date and tells it to stand
//! at once.
//!
//! Reading order: `election.rs`, `replication.rs` with `progress.rs` and `log.rs`, `read.rs`, `snapshot.rs`;
//! `record.rs` for what a start makes of a journal; then the rest, each a feature of its own.
//!
//! # Invariants
//!
//! - Terms and commit indices never fall; a vote is never changed within a term.
//! - A leader only ever appends to its log (Leader Append-Only, Fig. 3).
//! - Nothing that is committed is ever removed or replaced.
//! - Nothing is acknowledged, and no vote counted, before it is durable.
//! - While a snapshot is installed the log and the commit index stand still, and the replica does
//!   not stand for election.
//! - The service is handed what is committed in order and once, and never what lies behind a membership that the
//!   journal may not tell yet.
//! - A membership changes in steps that are committed one by one, the first after an entry of the leader's own
//!   term.
//! - A lease is counted from the send of its round, and there is none in a term after a successor was appointed.
//!
//! These are asserted where one replica can see them. Laws that hold only because *others* keep to the protocol are
//! not: a message that contradicts one is dropped, and [`Raft::broken_law`] tells. It proves that some replica
//! lied, and a crash of this one would hide which.
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
//! - With pre-votes (option `pre-vote`) whoever has heard its leader within the least election timeout answers no
//!   candidate at all, of whatever term. It is heard by a timer, for a replica has no clock: the election timeout is
//!   served in two parts.
//! - The election timer is armed again by a *granted* vote and by a leader's message, not by a higher
//!   term alone; with `timer-rule = "higher-term"` by that too, as in raft-rs.
//! - A snapshot is installed as a whole when its last part has come, and a suffix of the log stays
//!   only if it follows the snapshot's last entry.
//! - A change to single servers takes as many steps as it needs. New voters are not brought up to date first:
//!   an operator makes them learners if that matters.
//! - A joint membership tells all of both (voters, learners, witnesses); the dissertation's has no learners.
//! - A leader that is removed appoints a successor. With the answers to it a removed follower may go without
//!   hearing that it is one; it asks for votes in vain.
//! - A transfer refuses proposals and goes on with reads.
//! - Witnesses are not in the paper.

mod election;
mod handover;
mod law;
mod leading;
mod lease;
mod log;
mod message;
mod options;
mod progress;
mod quorum;
mod read;
mod reconfigure;
mod record;
mod replication;
mod snapshot;
mod term;
mod witness;

use std::collections::BTreeSet;
use std::sync::Arc;

use contract::{
    Channel, Cluster, Command, Control, Effect, Effects, Epoch, FailureModel, Index, Mark, Membership,
    NodeId, Payload, ProtocolOptions, Recovered, Rejection, Replica, RequestId, Role, SnapshotChunk, Token,
    View,
};

pub use law::Law;
pub use message::Message;
pub use options::{ChangeMode, OptionError, Options, ReadMode, TimerRule};
pub use record::{Record, Start};

use leading::Leading;
use log::Log;
use snapshot::Incoming;

/// What a replica waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A follower: first to be free of its loyalty, then to stand for election. A candidate: to stand again. A
    /// leader: to count who is still there.
    Election,
    /// A leader: to be heard from.
    Heartbeat,
    /// A leader: the end of a lease, or of the time in which a round may become one.
    Lease(u8),
    /// A leader: to go on if its successor did not take office.
    Handover,
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
    /// Up to where the service was handed the log: `commit`, or less where none is kept or its state is missing.
    handed: Index,
    /// Up to where the service has applied it, and durably.
    applied: Index,
    durable: Mark,
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
        /// A leader was heard from within the least election timeout: nobody else gets the vote.
        loyal: bool,
    },
    /// Asks who would vote for it.
    PreCandidate {
        votes: BTreeSet<NodeId>,
    },
    Candidate {
        votes: BTreeSet<NodeId>,
    },
    Leader(Box<Leading>),
}

impl Replica for Raft {
    const NAME: &'static str = "raft";
    const CHANNEL: Channel = Channel::Datagram;
    const FAILURES: FailureModel = FailureModel { stable_storage: true, tolerated_percent: 50 };
    const BEAT: Option<Timer> = Some(Timer::Heartbeat);
    type Options = Options;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;

    fn start(cluster: &Cluster<Options>, durable: Recovered<Record>, fx: &mut Effects<Self>) -> Self {
        assert_eq!(cluster.options.check(), Ok(()), "options were checked when they were read");
        let applied = durable.applied;
        let record::Folded { term, vote, log, was_reset } =
            record::fold(durable.records, applied, &cluster.founders);
        let mut raft = Self {
            cluster: Arc::new(cluster.clone()),
            term,
            vote,
            unsaved: false,
            saving: None,
            commit: applied.index.max(log.start().index),
            log,
            handed: applied.index,
            applied: applied.index,
            durable: applied,
            // Whom it heard before it crashed it has forgotten; the leases of those it must not break.
            standing: Standing::Follower { leader: None, loyal: cluster.options.lease().is_some() },
            incoming: None,
            failed: false,
            broken: None,
        };
        if was_reset {
            raft.begin_log_here(Record::Reset, fx);
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
        if message.term() < self.term {
            return self.refuse_outdated(from, &message, fx);
        }
        if self.ignores(&message) {
            return;
        }
        if let Message::RequestPreVote { term, last } = message {
            return self.answer_pre_candidate(from, term, last, fx);
        }
        if message.term() > self.term {
            self.enter_term(message.term(), fx);
        }
        self.on_current_message(from, message, fx);
        self.save(fx);
        self.assert_laws();
    }

    fn on_timer(&mut self, timer: Timer, fx: &mut Effects<Self>) {
        match timer {
            _ if self.failed => {}
            Timer::Election => self.on_election_timer(fx),
            Timer::Heartbeat => self.on_heartbeat_timer(fx),
            Timer::Lease(slot) => self.on_lease_timer(slot),
            Timer::Handover => self.on_handover_timer(fx),
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
            self.serve(fx);
            self.install_noted(token, fx);
        }
        self.assert_laws();
    }

    fn on_failed(&mut self, _token: Token, fx: &mut Effects<Self>) {
        if self.failed {
            return;
        }
        self.failed = true;
        let leading = self.resign(None, fx);
        for request in leading.into_iter().flat_map(Leading::into_requests) {
            fx.push(Effect::Reject { request, reason: Rejection::Stopped });
        }
        fx.push(Effect::CancelTimer(Timer::Election));
    }

    fn on_applied(&mut self, applied: Index, durable: Mark, fx: &mut Effects<Self>) {
        // The entries that this tells of are about to be replaced, or can no longer be written down.
        if self.failed || self.is_installing() {
            return;
        }
        assert!(applied <= self.handed, "only what was handed out is applied");
        assert!(durable.index <= applied, "only what is applied is durable");
        (self.applied, self.durable) = (applied, durable);
        if !self.keeps_no_state() {
            self.compact(durable, fx);
        }
        self.assert_laws();
    }

    fn on_chunk(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        self.send_chunk(to, chunk, fx);
    }

    fn propose(&mut self, request: RequestId, command: Command, fx: &mut Effects<Self>) {
        if let Some(reason) = self.refusal().or_else(|| self.refusal_of_proposal()) {
            return fx.push(Effect::Reject { request, reason });
        }
        let mark = self.append_own(Payload::Command(command), fx);
        fx.push(Effect::Proposed { request, mark });
        self.assert_laws();
    }

    fn read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        self.serve_read(request, fx);
    }

    fn control(&mut self, request: RequestId, control: Control, fx: &mut Effects<Self>) {
        match control {
            _ if self.failed => fx.push(Effect::Reject { request, reason: Rejection::Stopped }),
            Control::Campaign => self.stand_on_request(request, fx),
            Control::Transfer { to } => self.transfer(request, to, fx),
            Control::Reconfigure { to } => self.reconfigure(request, to, fx),
            Control::Compact => {
                self.compact_now(fx);
                fx.push(Effect::Controlled { request });
            }
        }
        self.assert_laws();
    }

    fn view(&self) -> View {
        let role = match self.standing {
            Standing::Follower { .. } => Role::Follower,
            Standing::PreCandidate { .. } | Standing::Candidate { .. } => Role::Candidate,
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
        self.log.membership()
    }
}

impl Raft {
    /// The entries that the log holds, and the mark behind which they begin.
    pub fn entries(&self) -> (Mark, impl Iterator<Item = &contract::Entry>) {
        (self.log.start(), self.log.entries())
    }

    /// A message of the current term.
    fn on_current_message(&mut self, from: NodeId, message: Message, fx: &mut Effects<Self>) {
        match message {
            Message::RequestPreVote { .. } => unreachable!("it is answered whatever the term"),
            Message::PreVote { granted: true, .. } => self.count_pre_vote(from, fx),
            Message::RequestVote { last, .. } => self.answer_candidate(from, last, fx),
            Message::Vote { granted: true, .. } => self.count_vote(from, fx),
            Message::PreVote { .. } | Message::Vote { .. } | Message::Outdated { .. } => {}
            Message::Append { prev, entries, commit, round, .. } => {
                if self.follow(from, fx) {
                    self.on_append(from, prev, entries, commit, round, fx);
                }
            }
            Message::InstallSnapshot { chunk, membership, round, .. } => {
                if self.follow(from, fx) {
                    self.on_chunk_received(from, chunk, membership, round, fx);
                }
            }
            Message::SkipTo { mark, membership, round, .. } => {
                if self.follow(from, fx) {
                    self.on_skip_to(from, mark, membership, round, fx);
                }
            }
            Message::Trim { index, .. } => {
                if self.follow(from, fx) {
                    self.on_trim(index, fx);
                }
            }
            Message::TimeoutNow { .. } => self.on_timeout_now(fx),
            Message::AppendAck { matched, round, lacks, .. } => self.on_ack(from, matched, round, lacks, fx),
            Message::AppendReject { rejected, hint, round, .. } => {
                self.on_reject(from, rejected, hint, round, fx);
            }
            Message::SnapshotAck { snapshot, offset, round, .. } => {
                self.on_snapshot_ack(from, snapshot, offset, round, fx);
            }
        }
    }

    fn is_leader(&self) -> bool {
        matches!(self.standing, Standing::Leader(_))
    }

    fn leader(&self) -> Option<NodeId> {
        match self.standing {
            Standing::Follower { leader, .. } => leader,
            Standing::PreCandidate { .. } | Standing::Candidate { .. } => None,
            Standing::Leader(_) => Some(self.cluster.me),
        }
    }

    fn leading(&self) -> &Leading {
        match &self.standing {
            Standing::Leader(leading) => leading,
            _ => panic!("only leaders lead"),
        }
    }

    fn leading_mut(&mut self) -> &mut Leading {
        match &mut self.standing {
            Standing::Leader(leading) => leading,
            _ => panic!("only leaders lead"),
        }
    }

    /// Why clients, and operators who ask for what only a leader does, had better go elsewhere.
    fn refusal(&self) -> Option<Rejection> {
        if self.failed {
            Some(Rejection::Stopped)
        } else if !self.is_leader() {
            Some(Rejection::NotLeader { leader: self.leader() })
        } else if self.keeps_no_state() {
            // It leads until someone can.
            Some(Rejection::NotLeader { leader: None })
        } else {
            None
        }
    }

    /// Why this leader takes no proposal now.
    fn refusal_of_proposal(&self) -> Option<Rejection> {
        let (options, leading) = (&self.cluster.options, self.leading());
        let entries = self.log.last().index.0 - self.commit.0;
        let full = entries >= options.max_uncommitted
            || leading.uncommitted_bytes >= options.max_uncommitted_bytes
            || leading.handover.is_some();
        full.then_some(Rejection::Overloaded)
    }
}
