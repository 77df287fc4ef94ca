//! Multi-Paxos, after L. Lamport, *Paxos Made Simple* (2001), cited as PMS, and *The Part-Time Parliament*
//! (1998); T. Chandra, R. Griesemer and J. Redstone, *Paxos Made Live* (2007); R. van Renesse and D.
//! Altinbuken, *Paxos Made Moderately Complex* (2015), cited as PMMC; H. Howard, D. Malkhi and A.
//! Spiegelman, *Flexible Paxos* (2016).
//!
//! # The protocol
//!
//! A log is a row of *slots*, and each slot decides one value by itself. *Ballots* number the attempts: a
//! round and the node that makes it, so that no two nodes ever share one. Whoever holds a ballot may
//! propose one value in each slot, and a value is *decided* once a quorum has accepted it in one ballot.
//! Every replica is proposer, acceptor and learner (PMS §2.1).
//!
//! **Phase 1** (PMS §2.2; `election.rs`). A proposer asks the acceptors to promise that they accept nothing
//! below its ballot any more, and to tell what they have accepted. It asks once, for all slots that are
//! open or will ever be (PMS §3). When a quorum has told all, it knows of every value that may have been
//! decided below its ballot: in each slot it adopts the value of the highest ballot; slots between those in
//! which nothing was accepted get no-ops; and whatever lies behind them is free.
//!
//! **Phase 2** (`proposer.rs`). From then on it leads, and one round trip decides a value: it sends it, the
//! acceptors write it down and say so. Up to a *window* of slots is open at once. They are accepted and
//! decided in any order, and applied in theirs (`learner.rs`). A message, and a write, holds as many as
//! there are.
//!
//! **Acceptors** (`acceptor.rs`) answer whoever asks. One that has promised a higher ballot says which: its
//! proposer gives up, and has to go above it. A promise and an acceptance are durable before they are told
//! (PMS §2.2); a ballot is, before anyone is asked for it, so that it is never taken twice.
//!
//! **Learners** hear the commit index with the leader's next message. Who lacks a slot asks for it, any
//! replica that has it, and pulls a snapshot if it has left the logs (`snapshot.rs`).
//!
//! **Who stands.** Safety does not depend on it, progress does (PMS §2.4: a distinguished proposer). A
//! replica trusts the leader that it hears for the shortest election timeout. After that, at a moment that
//! is drawn, it *probes* whether a quorum of Phase 1 trusts none either, and only then takes a ballot.
//! Whoever promises gives the candidate the same time. So an attempt that would fail costs the others
//! nothing, and two replicas that stand at the same time, which can happen, draw new moments.
//!
//! **Quorums** (Flexible Paxos, §3) of the one phase must meet those of the other, and need not meet each
//! other: with two of five deciding, four must promise.
//!
//! **Reads** take no slot (`read.rs`), **memberships** are values in slots (`operator.rs`).
//!
//! # Under partial partitions
//!
//! H. Ng, S. Haridi and P. Carbone, *Omni-Paxos* (2023), §2, find three patterns in which a leader could
//! serve, and protocols fail to find one or to keep it. Their Multi-Paxos fails in the first and the third.
//! This one does not:
//!
//! - *Quorum loss*: all links are gone but those of one replica, the hub, and another one leads. The hub
//!   hears it and is content. Here the leader counts who answers, finds no quorum within two election
//!   timeouts and falls silent; then the hub doubts it, finds support everywhere, and leads. The others,
//!   who find none, have not raised any ballot meanwhile: they could have kept the hub from winning for as
//!   long as they liked.
//! - *Constrained election*: the leader is gone, only the hub has a quorum, and its log is behind. Phase 1
//!   makes up for that: whoever reaches a quorum can lead, whatever it has missed. (Only if that has left
//!   the logs, it gets a snapshot first.) Raft's election restriction would let nobody win.
//! - *Chained*: two of three do not reach each other, and one of them leads. The other one doubts, but the
//!   replica between them trusts the leader and does not support it: no ballot rises, nobody is disturbed.
//!   Without probes each of the two would preempt the other in turn.
//!
//! # Invariants
//!
//! - Promises, ballots and commit indices never fall; what was accepted is replaced only in a higher
//!   ballot, or by what is known to be decided.
//! - Nothing is held here above what is promised: who learns of a decision promises its ballot, as the quorum
//!   has by which it was decided. So a leader that was overtaken is refused by whoever knows what it missed.
//! - A proposer proposes nothing before a quorum has told it all, and one value in a slot.
//! - Nothing is told before it is durable; nothing is counted that was not told, the own acceptor's word
//!   neither.
//! - Slots are applied in order, each once, and none that is not known to be decided.
//! - Nothing is proposed behind a membership that is not decided, and no membership is in force here that the
//!   journal does not hold as decided.
//!
//! These are asserted. Laws that hold only because *others* keep to the protocol are not: a message that
//! contradicts one is dropped, and [`MultiPaxos::broken_law`] tells.
//!
//! # Deviations from the papers
//!
//! - There is no part of a proposer without an acceptor, nor of a leader without a replica (PMMC's scouts
//!   and commanders). The proposer's own acceptor is one among the others: its promise and its acceptances
//!   count once they are durable.
//! - A candidate probes first, and a follower's trust in its leader keeps it from *supporting* another one,
//!   not from promising (but where leases are given). Omni-Paxos elects by a ballot of its own that carries
//!   who is connected to a quorum; here a quorum is asked.
//! - A leader that hears from no quorum of Phase 2 for the longest election timeout steps down within its
//!   ballot.
//! - An acceptor tells only what stands behind the candidate's commit index, in parts if it is much. What
//!   it knows to be decided it tells as such, and the candidate learns it on the way.
//! - An acceptor accepts no slot further than two windows beyond what it knows to be decided: so what it
//!   keeps, and what it has to tell, is bounded.
//! - A decided entry stands under the ballot in which it was accepted here, or learnt: two replicas may
//!   hold the same decision under two ballots, both at or above the first one that decided it.
//! - A change of the membership is a stop sign, not a window (PMS §3): `operator.rs` says why. Single
//!   changes and whole new groups are the same to it. There are no witnesses.
//! - Leases are granted by acceptors as by Paxos Made Live's replicas, but counted by timers, for a replica
//!   has no clock.

mod acceptor;
mod config;
mod election;
mod leader;
mod learner;
mod message;
mod operator;
mod options;
mod proposer;
mod read;
mod record;
mod slots;
mod snapshot;
mod standing;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use contract::{
    Channel, Cluster, Command, Control, Effect, Effects, Entry, Epoch, FailureModel, Index, LogShape, Mark,
    Membership, NodeId, Payload, ProtocolOptions, Recovered, Rejection, Replica, RequestId, Role,
    SnapshotChunk, Token, View,
};

pub use config::Config;
pub use message::Message;
pub use options::{OptionError, Options};
pub use read::Half;
pub use record::Record;

use learner::{Gate, Learning};
use options::Quorums;
use slots::Slots;
use snapshot::Incoming;
use standing::Standing;

/// What a replica waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// One that trusts no leader: to ask whether to stand. A leader: to count who is still there.
    Election,
    /// One that trusts a leader: to do so no longer.
    Trust,
    /// A proposer: to be heard from, and to say again what was lost.
    Heartbeat,
    /// One that asked another: to ask again.
    Ask,
    /// A leader: the end of a lease.
    Lease(Half),
}

/// A law that holds as long as every replica keeps to the protocol and its disk to its promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// In each slot one value is decided at most: another replica takes another one for decided.
    Agreement,
    /// In each slot a ballot proposes one value at most: here it proposes another one.
    OneValuePerBallot,
    /// A ballot is taken once, by its owner: another claims it, or someone answers what it never proposed.
    BallotsAreUnique,
}

impl Law {
    /// The law's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agreement => "agreement",
            Self::OneValuePerBallot => "one value per ballot",
            Self::BallotsAreUnique => "unique ballots",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A replica: proposer, acceptor and learner in one. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MultiPaxos {
    cluster: Arc<Cluster<Options>>,
    /// Nothing below this ballot is accepted. A proposer's own ballot.
    promised: Epoch,
    /// The highest ballot that was heard of.
    seen: Epoch,
    /// The last write under way: all that was said to be written is durable once it is.
    writing: Option<Token>,
    slots: Slots,
    /// All slots up to here are decided, and handed to the service.
    commit: Index,
    /// The commit index that the journal was last told.
    recorded: Index,
    /// The commit index of the promised ballot's owner, as far as it has told.
    told: Index,
    /// The membership behind the slots' start.
    base: Config,
    /// The membership behind the commit index: it decides the slots that follow.
    config: Config,
    gate: Option<Gate>,
    /// Of a replica without a vote, while it is in doubt: which voters know that it has none.
    retiring: Option<BTreeSet<NodeId>>,
    standing: Standing,
    learning: Option<Learning>,
    incoming: Option<Incoming>,
    /// Up to where the service durably includes the log.
    durable: Mark,
    /// The journal refused a write: nothing can be promised any more.
    failed: bool,
    broken: Option<Law>,
}

impl Replica for MultiPaxos {
    const NAME: &'static str = "multi-paxos";
    const CHANNEL: Channel = Channel::Datagram;
    const FAILURES: FailureModel = FailureModel { stable_storage: true, tolerated_percent: 50 };
    const LOG: LogShape = LogShape::Slots;
    const BEAT: Option<Timer> = Some(Timer::Heartbeat);
    type Options = Options;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;

    fn start(cluster: &Cluster<Options>, durable: Recovered<Record>, fx: &mut Effects<Self>) -> Self {
        assert_eq!(cluster.options.check(), Ok(()), "options were checked when they were read");
        let voters = cluster.founders.voters.len();
        assert_eq!(cluster.options.check_for(voters), Ok(()), "options were checked for this cluster");
        let applied = durable.applied;
        let folded = record::fold(durable.records, applied, &cluster.founders);
        // Whoever it trusted before may still count on that.
        let trusts = cluster.options.lease_reads;
        let mut paxos = Self {
            cluster: Arc::new(cluster.clone()),
            promised: folded.promised,
            seen: folded.promised,
            writing: None,
            slots: folded.slots,
            commit: folded.commit,
            recorded: folded.commit,
            told: Index::ZERO,
            base: folded.base,
            config: folded.config,
            gate: None,
            retiring: None,
            standing: Standing::Follower { leader: None, trusts },
            learning: None,
            incoming: None,
            durable: applied,
            failed: false,
            broken: None,
        };
        if folded.was_moved {
            paxos.begin_log(fx);
        }
        if paxos.commit > applied.index {
            fx.push(Effect::Commit(paxos.slots.between(applied.index, paxos.commit)));
        }
        paxos.retire();
        if trusts {
            paxos.arm_trust_timer(fx);
        } else if paxos.votes() || paxos.retiring.is_some() {
            paxos.arm_election_timer(fx);
        }
        paxos.assert_laws();
        paxos
    }

    fn on_message(&mut self, from: NodeId, message: Message, fx: &mut Effects<Self>) {
        if self.failed {
            return;
        }
        assert!(from != self.cluster.me, "nobody writes to themselves");
        let proposes = matches!(self.standing, Standing::Proposer(_));
        match message {
            Message::Probe { ballot, commit } => self.on_probe(from, ballot, commit, fx),
            Message::Support { ballot, granted, promised, commit } => {
                self.on_support(from, (ballot, granted), (promised, commit), fx);
            }
            Message::Prepare { ballot, from: first, commit, by_leave } => {
                self.on_prepare(from, ballot, (first, commit), by_leave, fx);
            }
            Message::Promise { ballot, from: first, entries, last, start, commit } => {
                if proposes && ballot == self.promised {
                    self.on_promise(from, (first, last), entries, (start, commit), fx);
                }
            }
            Message::Nack { ballot, promised } => self.on_nack(ballot, promised, fx),
            Message::Accept { ballot, entries, commit, round } => {
                self.on_accept(from, ballot, entries, (commit, round), fx);
            }
            Message::Accepted { ballot, slots, commit, round } => {
                if proposes && ballot == self.promised {
                    self.on_accepted(from, &slots, (commit, round), fx);
                }
            }
            Message::Stand { ballot } => self.on_stand(ballot, fx),
            Message::Learn { from: first } => self.on_learn(from, first, fx),
            Message::Decided { entries, start, commit } => {
                self.on_decided(from, entries, (start, commit), fx);
            }
            Message::Pull { snapshot, offset } => self.on_pull(from, snapshot, offset, fx),
            Message::Part { chunk, config } => self.on_part(from, chunk, config, fx),
        }
        self.assert_laws();
    }

    fn on_timer(&mut self, timer: Timer, fx: &mut Effects<Self>) {
        match timer {
            _ if self.failed => {}
            Timer::Election => self.on_election_timer(fx),
            Timer::Trust => self.on_trust_timer(fx),
            Timer::Heartbeat => self.on_heartbeat_timer(fx),
            Timer::Ask => self.on_ask_timer(fx),
            Timer::Lease(half) => self.on_lease_end(half),
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
            self.writing.take_if(|writing| *writing <= token);
            if self.gate.is_some_and(|gate| gate.token <= token) {
                self.on_membership_durable(fx);
            }
            self.on_announced(token, fx);
            self.on_own_write(token, fx);
        }
        self.assert_laws();
    }

    fn on_failed(&mut self, _token: Token, fx: &mut Effects<Self>) {
        if self.failed {
            return;
        }
        self.failed = true;
        let standing = Standing::Follower { leader: None, trusts: false };
        if let Standing::Proposer(proposer) = std::mem::replace(&mut self.standing, standing) {
            self.close(*proposer, Rejection::Stopped, fx);
        }
        fx.push(Effect::CancelTimer(Timer::Election));
        fx.push(Effect::CancelTimer(Timer::Trust));
    }

    fn on_applied(&mut self, applied: Index, durable: Mark, fx: &mut Effects<Self>) {
        // The entries that this tells of are about to be replaced, or can no longer be written down.
        if self.failed || self.is_installing() {
            return;
        }
        assert!(applied <= self.commit, "only what is committed is applied");
        assert!(durable.index <= applied, "only what is applied is durable");
        self.durable = durable;
        let Options { snapshot_entries, keep_entries, .. } = self.cluster.options;
        if durable.index.0.saturating_sub(self.slots.start().index.0) > snapshot_entries {
            self.compact(keep_entries, fx);
        }
        self.assert_laws();
    }

    fn on_chunk(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        self.send_chunk(to, chunk, fx);
    }

    fn propose(&mut self, request: RequestId, command: Command, fx: &mut Effects<Self>) {
        if let Some(reason) = self.refusal() {
            return fx.push(Effect::Reject { request, reason });
        }
        self.proposer().queue.push_back((request, Payload::Command(command)));
        self.proceed(fx);
        self.assert_laws();
    }

    fn read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        if self.failed {
            return fx.push(Effect::Reject { request, reason: Rejection::Stopped });
        }
        self.serve_read(request, fx);
    }

    fn control(&mut self, request: RequestId, control: Control, fx: &mut Effects<Self>) {
        if self.failed {
            return fx.push(Effect::Reject { request, reason: Rejection::Stopped });
        }
        self.carry_out(request, control, fx);
        self.assert_laws();
    }

    fn view(&self) -> View {
        let role = match &self.standing {
            Standing::Follower { .. } => Role::Follower,
            Standing::Proposer(proposer) if proposer.leads => Role::Leader,
            Standing::Prober { .. } | Standing::Proposer(_) => Role::Candidate,
        };
        View {
            role,
            epoch: self.promised,
            leader: self.leader(),
            last: self.slots.last(),
            commit: self.commit,
            broken: self.broken.map(Law::name),
        }
    }

    fn membership(&self) -> &Membership {
        &self.config.members
    }
}

impl MultiPaxos {
    /// The first law that a message of another replica was seen to break.
    pub fn broken_law(&self) -> Option<Law> {
        self.broken
    }

    /// What the slots hold, and the mark behind which they begin.
    pub fn entries(&self) -> (Mark, impl Iterator<Item = &Entry>) {
        let start = self.slots.start();
        (start, self.slots.from(start.index.next()).map(|slot| &slot.entry))
    }

    fn breaks(&mut self, law: Law) {
        self.broken.get_or_insert(law);
    }

    fn votes(&self) -> bool {
        self.config.members.votes(self.cluster.me)
    }

    /// The sizes of quorums in the membership that is in force.
    fn quorums(&self) -> Quorums {
        let quorums = self.cluster.options.quorums(self.config.members.voters.len());
        quorums.expect("a membership is proposed only if there are quorums in it")
    }

    fn voters_for_whom(&self, holds: impl Fn(NodeId) -> bool) -> usize {
        self.config.members.voters.iter().filter(|voter| holds(**voter)).count()
    }

    fn other_voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.config.members.voters.iter().copied().filter(|voter| *voter != self.cluster.me)
    }

    /// Writes records, and by the way up to where all is decided if the journal was not told yet.
    fn write(&mut self, mut records: Vec<Record>, fx: &mut Effects<Self>) -> Token {
        if self.commit > self.recorded {
            records.push(Record::Decided { upto: self.commit });
            self.recorded = self.commit;
        }
        let token = fx.persist(records);
        self.writing = Some(token);
        token
    }

    fn assert_laws(&self) {
        assert!(self.commit >= self.slots.start().index, "only what is decided leaves the log");
        assert!(self.commit <= self.slots.last().index, "only what is there is decided");
        assert!(self.base.since <= self.slots.start().index && self.config.since <= self.commit);
        if let Standing::Proposer(proposer) = &self.standing {
            let owner = self.promised.owner();
            assert_eq!(owner, Some(self.cluster.me), "a proposer has promised its own ballot");
            assert!(self.votes(), "only voters propose");
            assert!(self.incoming.is_none(), "a proposer has, or adopts, all that is decided");
            assert!(
                proposer.leads || proposer.open.is_empty(),
                "nothing is proposed before Phase 1 is complete"
            );
            let open = proposer.open.len() as u64;
            assert!(open <= self.cluster.options.window, "no more than a window is open");
        }
    }
}
