//! ZAB 1.0, the atomic broadcast of ZooKeeper: F. Junqueira, B. Reed and M. Serafini, *Zab:
//! High-performance broadcast for primary-backup systems* (DSN 2011), cited as §; the Zab 1.0
//! specification of the ZooKeeper project, cited as such; B. Reed and F. Junqueira, *A simple totally
//! ordered broadcast protocol* (LADIS 2008); and for changes of the group A. Shraer and others, *Dynamic
//! Reconfiguration of Primary/Backup Clusters* (ATC 2012).
//!
//! # The protocol
//!
//! A leader turns commands into *transactions* and broadcasts them. A transaction has a place (its *zxid*):
//! the leader's *epoch*, and a counter in it. What a server holds of them is its *history*. A leader does
//! not pick up what its predecessors left one by one, as in Paxos: at the beginning of its epoch its whole
//! history becomes that of a quorum, in one step, and then it broadcasts. So each epoch's transactions
//! stand behind all that was committed before, in the order in which its leader proposed them: a primary
//! may propose changes that depend on each other without waiting (§2, *primary order*).
//!
//! A server goes through four phases:
//!
//! **Election** (phase 0, `election.rs`): whom to follow. A hint, of which nothing is durable.
//!
//! **Discovery** (phase 1, `discovery.rs`): learners tell their last `acceptedEpoch` (CEPOCH); the leader
//! proposes an epoch above those of a quorum (NEWEPOCH); they promise to follow no older one and tell how
//! recent their histories are (ACKEPOCH). A leader that meets a more recent one than its own gives up.
//!
//! **Synchronisation** (phase 2, `synchronisation.rs`, `snapshot.rs`): a learner's history becomes the
//! leader's, by TRUNC, DIFF or SNAP. NEWLEADER says that all was sent; the learner has it on its disk,
//! *then* writes its `currentEpoch`, *then* acknowledges. When a quorum did, the history is committed, and
//! UPTODATE opens the service.
//!
//! **Broadcast** (phase 3, `broadcast.rs`): proposals, acknowledgements, commits, each in order.
//!
//! Beside these: linearizable reads (`read.rs`), changes of the group and of the leader
//! (`reconfiguration.rs`), and observers, who learn what is committed and do not vote. Followers and
//! observers together are *learners*. Reading order: `message.rs`, then the phases.
//!
//! # Streams
//!
//! ZAB assumes FIFO channels, and connections whose end both sides notice (§3). A learner belongs to its
//! leader for one connection: whoever gives the other up breaks it, so that nothing of what was said by it
//! comes later, and a learner that comes again begins again, with CEPOCH. That is why messages need not
//! carry epochs, why acknowledgements may say "all up to here", and why a proposal to a learner that still
//! takes over the history needs no special case: it stands behind NEWLEADER.
//!
//! # Zxids and marks
//!
//! A zxid is (epoch, counter); a log here is an array in which indices have no gaps and go on over epochs.
//! So a transaction has a [`contract::Mark`] of its epoch and its index, and its counter is the distance to
//! the epoch's first index. Within an epoch both grow by one with each transaction, so that marks are ordered
//! as zxids are. The index alone identifies nothing: two histories may hold different transactions there.
//!
//! # How two histories part
//!
//! A learner tells only where its history ends, at (e, i). The leader takes the last transaction of its own
//! whose epoch is at most e and whose index is at most i, and that *is* the last one that both hold:
//!
//! - Both histories are prefixes of what some leader had, so a mark stands for a prefix ([`contract::LogShape::Chain`]).
//! - If the leader holds transactions of e, both hold them from the epoch's first index on, without a gap.
//! - If not: e's leader broadcast, so a quorum had taken over its initial history. That quorum meets the one
//!   that promised itself to the present leader; so this leader's `currentEpoch` is at least e, and its
//!   history goes on from that initial history. All that it holds of epochs below e is just that.
//!
//! So one message suffices where Raft probes, and TRUNC never reaches back to what was delivered.
//!
//! # Invariants
//!
//! - `acceptedEpoch` and `currentEpoch` never fall; `acceptedEpoch` is at least `currentEpoch`, and at least the
//!   epoch of every transaction held. (`currentEpoch` may be below that: a learner that was interrupted.)
//! - A leader only adds to its history. A learner cuts its own off only in synchronisation.
//! - What was delivered is never cut off.
//! - Nothing is promised or acknowledged before it is durable.
//! - Nothing is delivered before UPTODATE, so that what was cut off or taken over before is durable; and no
//!   membership before it is durable. So the service may run ahead of the journal only by transactions that
//!   follow it, and who takes part is known of all that the service includes.
//! - While a snapshot is installed the history stands still, and its server takes no part in elections.
//!
//! These are asserted. Laws that hold only because *others* keep to the protocol are not: a message that
//! contradicts one is dropped, and [`Zab::broken_law`] tells.
//!
//! # Deviations from ZooKeeper and the papers
//!
//! - One stream between two servers carries what ZooKeeper has two connections for (elections, and the
//!   leader's). Who repeats a vote opens the streams anew over which nothing came.
//! - A vote that *all* voters share is believed at once, without the moment of waiting.
//! - Those who have a leader are compared by whom they follow, not by the zxid and round of the votes that
//!   made them (ZOOKEEPER-1732, 1805: those differ among followers of one leader).
//! - Who has chosen a leader that has said nothing yet, or leads nobody yet, agrees to a vote for a more recent
//!   history and lets itself be invited (ZooKeeper's servers wait for `initLimit`).
//! - A server that could not follow whom it was told to waits one to two ticks before it looks again. A
//!   limit (`init-limit`) counts for each step of a recovery, not for the whole, and a learner that receives a
//!   snapshot is kept as long as it answers pings.
//! - Acknowledgements and commits are cumulative. A leader sends everything up to the last transaction before
//!   NEWLEADER, not only what is committed (ZooKeeper sends the rest as proposals behind it).
//! - Learners deliver at UPTODATE what they were told to be committed before.
//! - A snapshot is the service's state at one mark (not fuzzy), and moves in parts that each wait for the
//!   learner's word. The history of whoever is sent one is dropped whole. The leader does not compact
//!   beyond a snapshot that is on its way.
//! - `sync` confirms the leader by a round of pings, so reads behind it are linearizable (ZooKeeper's is not,
//!   when a leader does not know yet that it was replaced). By default only leaders serve reads.
//! - ZooKeeper's notifications carry the group that their sender knows of; here who has no vote tells up to
//!   where all is committed, and agrees to votes. Its observers that look are no candidates either: they vote
//!   for themselves with the lowest zxid there is.
//! - Of a new group ZooKeeper expects that it was started as observers; here the leader invites it, and any
//!   member that is absent for long, since that may not know whom to ask.
//! - A leader that leaves the group hands over by a message instead of naming its successor in the commit; the
//!   same message serves an operator who wants another leader.
//! - Membership changes wait until a quorum of the new voters keeps up, for as long as `init-limit`; ZooKeeper
//!   refuses at once.
//! - There are no sessions, ACLs, weights or groups of servers.

mod broadcast;
mod discovery;
mod election;
mod law;
mod learner;
mod log;
mod message;
mod options;
mod read;
mod reconfiguration;
mod record;
mod snapshot;
mod standing;
mod synchronisation;

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::{
    Channel, Cluster, Command, Control, Effect, Effects, Entry, Epoch, FailureModel, Index, Mark, Membership,
    NodeId, Payload, ProtocolOptions, Recovered, Rejection, Replica, RequestId, Role, SnapshotChunk, Token,
    View,
};

pub use law::Law;
pub use message::{Message, PeerState, Summary, Vote};
pub use options::{OptionError, Options};
pub use record::Record;

use learner::Learner;
use log::Log;
use snapshot::Incoming;
use standing::{Following, Leading, Phase, Stage, Standing, Then};

/// What a replica waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// One that looks for a leader: to repeat its vote, or to begin to look.
    Notify,
    /// The same: to believe a vote that a quorum shares.
    Finalize,
    /// A leader: to ping its learners and to count who answered.
    Tick,
    /// A learner: to give up a silent leader. A leader: to give up a recovery that takes too long.
    Limit,
}

/// A replica. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zab {
    cluster: Arc<Cluster<Options>>,
    /// `acceptedEpoch`: no leader of an older epoch is followed.
    accepted: Epoch,
    /// `currentEpoch`: the epoch whose leader's history this is.
    current: Epoch,
    log: Log,
    /// Up to where the history is known to be committed.
    commit: Index,
    /// Up to where it was handed to the service.
    delivered: Index,
    /// Up to where the service includes it durably.
    durable: Mark,
    /// Who takes part now; while a change is pending, with the voters that it replaces.
    group: Membership,
    /// The logical clock: the round of elections.
    round: u64,
    standing: Standing,
    /// Learners who came before this server knew that it leads.
    early: BTreeMap<NodeId, Epoch>,
    /// A snapshot that is being received.
    incoming: Option<Incoming>,
    /// The journal refused a write: nothing can be promised any more.
    failed: bool,
    broken: Option<Law>,
}

impl Replica for Zab {
    const NAME: &'static str = "zab";
    const CHANNEL: Channel = Channel::Stream;
    const FAILURES: FailureModel = FailureModel { stable_storage: true, tolerated_percent: 50 };
    type Options = Options;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;

    fn start(cluster: &Cluster<Options>, durable: Recovered<Record>, fx: &mut Effects<Self>) -> Self {
        assert_eq!(cluster.options.check(), Ok(()), "options were checked when they were read");
        let applied = durable.applied;
        let record::Folded { accepted, current, log, was_reset } =
            record::fold(durable.records, applied, &cluster.founders);
        let mut zab = Self {
            cluster: Arc::new(cluster.clone()),
            accepted,
            current,
            group: log.group(applied.index),
            log,
            commit: applied.index,
            delivered: applied.index,
            durable: applied,
            round: 0,
            standing: Standing::Resting,
            early: BTreeMap::new(),
            incoming: None,
            failed: false,
            broken: None,
        };
        if was_reset {
            let membership = zab.log.membership_at(applied.index).clone();
            zab.begin_log_behind(Record::Reset { mark: applied, membership }, fx);
        }
        zab.begin(Then::Look, fx);
        zab.assert_laws();
        zab
    }

    fn on_message(&mut self, from: NodeId, message: Message, fx: &mut Effects<Self>) {
        if self.failed {
            return;
        }
        assert!(from != self.cluster.me, "nobody writes to themselves");
        match message {
            Message::Notification { round, vote, state } => {
                self.on_notification(from, round, vote, state, fx);
            }
            Message::CEpoch { accepted } => self.on_cepoch(from, accepted, fx),
            Message::Known { commit } => self.on_known(from, commit, fx),
            Message::Invite { epoch } => self.on_invite(from, epoch, fx),
            said => match &mut self.standing {
                Standing::Leading(leading) => {
                    if let Some(learner) = leading.learners.get_mut(&from) {
                        learner.silent = 0;
                        self.on_learners_word(from, said, fx);
                    }
                }
                Standing::Following(following) if following.leader == from => {
                    self.arm_limit(fx);
                    self.on_leaders_word(from, said, fx);
                }
                // What was said to another part that this server, or the sender, has given up.
                Standing::Following(_) | Standing::Looking(_) | Standing::Resting => {}
            },
        }
        self.assert_laws();
    }

    fn on_disconnect(&mut self, peer: NodeId, fx: &mut Effects<Self>) {
        self.early.remove(&peer);
        match &mut self.standing {
            Standing::Following(following) if following.leader == peer => {
                let served = following.phase == Phase::Broadcast;
                self.abandon(if served { Then::Look } else { Then::Pause }, fx);
            }
            Standing::Leading(leading) => drop(leading.learners.remove(&peer)),
            Standing::Looking(looking) => looking.is_cut_off(peer),
            Standing::Following(_) | Standing::Resting => {}
        }
        self.assert_laws();
    }

    fn on_timer(&mut self, timer: Timer, fx: &mut Effects<Self>) {
        match timer {
            _ if self.failed => {}
            Timer::Notify => self.on_notify_timer(fx),
            Timer::Finalize => self.on_finalize_timer(fx),
            Timer::Tick => self.on_tick(fx),
            Timer::Limit => self.on_limit_timer(fx),
        }
        self.assert_laws();
    }

    fn on_durable(&mut self, token: Token, fx: &mut Effects<Self>) {
        if self.failed {
            return;
        }
        self.log.on_durable(token);
        self.installation_goes_on(token, fx);
        self.deliver(fx);
        if let Standing::Leading(leading) = &mut self.standing {
            leading.own.take_if(|own| *own <= token);
            self.advance(fx);
        }
        self.assert_laws();
    }

    fn on_failed(&mut self, _token: Token, fx: &mut Effects<Self>) {
        if !self.failed {
            self.failed = true;
            self.abandon(Then::Rest, fx);
        }
    }

    fn on_applied(&mut self, applied: Index, durable: Mark, fx: &mut Effects<Self>) {
        // The entries that this tells of are about to be replaced, or can no longer be written down.
        if self.failed || self.is_installing() {
            return;
        }
        assert!(applied <= self.delivered, "only what was delivered is applied");
        assert!(durable.index <= applied, "only what is applied is durable");
        self.durable = durable;
        let options = &self.cluster.options;
        let (keep, most) = (options.keep_entries, options.snapshot_entries);
        if durable.index.0.saturating_sub(self.log.start().index.0) > most {
            self.compact(keep, fx);
        }
        self.assert_laws();
    }

    fn on_chunk(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        self.send_chunk(to, chunk, fx);
    }

    fn propose(&mut self, request: RequestId, command: Command, fx: &mut Effects<Self>) {
        if let Some(reason) = self.refusal() {
            fx.push(Effect::Reject { request, reason });
            // As ZooKeeper does when the counter of its zxids has come to its end.
            if self.serves_as_leader() && self.is_used_up() && !self.failed {
                self.abandon(Then::Look, fx);
            }
            return;
        }
        let mark = self.broadcast(Payload::Command(command), fx);
        fx.push(Effect::Proposed { request, mark });
        self.assert_laws();
    }

    fn read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        if self.failed {
            return fx.push(Effect::Reject { request, reason: Rejection::Stopped });
        }
        self.serve_read(request, fx);
        self.assert_laws();
    }

    fn control(&mut self, request: RequestId, control: Control, fx: &mut Effects<Self>) {
        self.obey(request, control, fx);
        self.assert_laws();
    }

    fn view(&self) -> View {
        let role = match &self.standing {
            Standing::Looking(_) if self.group.votes(self.cluster.me) => Role::Candidate,
            Standing::Leading(leading) if leading.stage < Stage::Synchronisation => Role::Candidate,
            Standing::Leading(_) => Role::Leader,
            Standing::Looking(_) | Standing::Following(_) | Standing::Resting => Role::Follower,
        };
        View {
            role,
            epoch: self.accepted,
            leader: self.leader(),
            last: self.log.last(),
            commit: self.commit,
            broken: self.broken.map(Law::name),
        }
    }

    fn membership(&self) -> &Membership {
        &self.group
    }
}

impl Zab {
    /// The first law that a message of another replica was seen to break.
    pub fn broken_law(&self) -> Option<Law> {
        self.broken
    }

    /// The entries that the log holds, and the mark behind which they begin.
    pub fn entries(&self) -> (Mark, impl Iterator<Item = &Entry>) {
        (self.log.start(), self.log.entries())
    }

    fn breaks(&mut self, law: Law) {
        self.broken.get_or_insert(law);
    }

    /// What a learner says to its leader.
    fn on_learners_word(&mut self, from: NodeId, said: Message, fx: &mut Effects<Self>) {
        match said {
            Message::AckEpoch { summary, fresh, staged } => {
                self.on_ack_epoch(from, learner::Promise { summary, fresh, staged }, fx);
            }
            Message::SnapAck { snapshot, offset } => self.on_snap_ack(from, snapshot, offset, fx),
            Message::Installed { snapshot } => self.on_learner_installed(from, snapshot, fx),
            Message::AckLeader { epoch, last } => self.on_ack_leader(from, epoch, last, fx),
            Message::Ack { index } => self.on_ack(from, index, fx),
            Message::Pong { round } => self.on_pong(from, round, fx),
            Message::Sync { number } => self.on_sync(from, number, fx),
            _ => self.breaks(Law::EpochUniqueness),
        }
    }

    /// What a leader says to a learner that follows it.
    fn on_leaders_word(&mut self, from: NodeId, said: Message, fx: &mut Effects<Self>) {
        match said {
            Message::NewEpoch { epoch } => self.on_new_epoch(from, epoch, fx),
            Message::Trunc { to } => self.on_trunc(to, fx),
            Message::Diff { prev, entries } => self.on_diff(prev, entries, fx),
            Message::Snap { chunk, membership } => self.on_snap(from, chunk, membership, fx),
            Message::NewLeader { epoch, last } => self.on_new_leader(from, epoch, last, fx),
            Message::UpToDate { commit } => self.on_up_to_date(from, commit, fx),
            Message::Propose { entry } => self.on_propose(from, entry, fx),
            Message::Commit { index } => self.on_commit(index, fx),
            Message::Inform { entries, commit } => self.on_inform(entries, commit, fx),
            Message::Ping { round } => fx.send(from, Message::Pong { round }, None),
            Message::Synced { number, index } => self.on_synced(number, index, fx),
            Message::HandOver { epoch } => self.on_hand_over(epoch, fx),
            _ => self.breaks(Law::EpochUniqueness),
        }
    }

    /// What a leader waits for may have come.
    fn advance(&mut self, fx: &mut Effects<Self>) {
        match self.leading().stage {
            Stage::Connecting => self.propose_epoch(fx),
            Stage::Electing => self.begin_synchronisation(fx),
            Stage::Synchronisation => self.establish(fx),
            Stage::Broadcast => self.advance_commit(fx),
        }
    }

    /// Whether a quorum, this leader among it, has come as far as `counts` tells of learners.
    fn has_quorum(&self, counts: impl Fn(&Learner) -> bool) -> bool {
        let leading = self.leading();
        self.group.is_quorum(|node| match node == self.cluster.me {
            true => leading.own.is_none(),
            false => leading.learners.get(&node).is_some_and(&counts),
        }) && leading.own.is_none()
    }

    /// Why a proposal cannot be taken now.
    fn refusal(&self) -> Option<Rejection> {
        let outstanding = self.log.last().index.0 - self.commit.0;
        if self.failed {
            Some(Rejection::Stopped)
        } else if !self.serves_as_leader() {
            Some(Rejection::NotLeader { leader: self.serving_leader() })
        } else if self.is_leaving() || self.is_used_up() {
            Some(Rejection::NotLeader { leader: None })
        } else if outstanding >= self.cluster.options.max_outstanding {
            Some(Rejection::Overloaded)
        } else {
            None
        }
    }

    /// Who takes part may have changed.
    fn regroup(&mut self) {
        self.group = self.log.group(self.commit);
    }

    fn assert_laws(&self) {
        assert!(self.accepted >= self.current, "an epoch is accepted before its history is");
        assert!(
            self.accepted >= self.log.last().epoch,
            "no transaction is of an epoch that was not accepted"
        );
        assert!(self.commit <= self.log.last().index, "only transactions that exist are committed");
        assert!(self.delivered <= self.commit, "only what is committed is delivered");
        assert!(self.log.start().index <= self.delivered, "only what was delivered leaves the log");
        if let Standing::Leading(leading) = &self.standing {
            assert!(!self.is_installing(), "a leader's history stands");
            let begun = leading.stage > Stage::Electing;
            assert!(!begun || self.current == self.accepted, "a leader's history is its epoch's");
        }
    }
}
