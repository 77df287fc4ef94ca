//! ZAB 1.0: primary-backup with crash recovery, after F. Junqueira, B. Reed and M. Serafini, *Zab:
//! High-performance broadcast for primary-backup systems* (DSN 2011).
//!
//! A server looks for a leader (`election.rs`), agrees with a quorum on a new epoch (`discovery.rs`), brings its
//! learners to its own history by DIFF, TRUNC or SNAP (`synchronisation.rs`, `snapshot.rs`), and then broadcasts
//! transactions in order (`broadcast.rs`). Messages travel over streams: in order, until one breaks. A transaction's
//! index counts on over epochs; the counter of its zxid is how far it stands behind the first one of its epoch.

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
mod synchronisation;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use contract::{
    Bug, Channel, Cluster, Command, Control, Effect, Effects, Entry, Epoch, FailureModel, Index, Mark,
    Membership, NodeId, Payload, ProtocolOptions, Recovered, Rejection, Replica, RequestId, Role,
    SnapshotChunk, Token, View,
};

pub use law::Law;
pub use message::{Message, PeerState, Summary, Vote};
pub use options::{OptionError, Options};
pub use record::Record;

use election::Looking;
use learner::Learner;
use log::Log;
use read::Reads;
use reconfiguration::Change;
use snapshot::Incoming;

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

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Standing {
    /// Takes no part, until it is invited.
    Resting,
    Looking(Looking),
    Following(Following),
    Leading(Leading),
}

/// What a learner knows of its leader: followers and observers are learners.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Following {
    leader: NodeId,
    /// The vote by which it came to follow.
    vote: Vote,
    phase: Phase,
    /// The leader's, once it is known.
    epoch: Epoch,
    /// Reads that wait for the leader's word, by number.
    syncs: VecDeque<(u64, RequestId)>,
    last_sync: u64,
    /// Planted: [`Bug::DiffNotLogged`]. Transactions that came before UPTODATE and are not logged yet.
    unlogged: Vec<Entry>,
}

/// How far a learner has come with its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase {
    /// It told which epoch it accepted last.
    Discovery,
    /// It accepted the leader's epoch, and takes over its history.
    Synchronisation,
    /// It has the whole history, and acknowledges that once it is durable.
    Acknowledged,
    /// A quorum has: it serves.
    Broadcast,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Leading {
    vote: Vote,
    stage: Stage,
    learners: BTreeMap<NodeId, Learner>,
    /// The write by which this server accepts its own epoch, or its own history, while it is under way.
    own: Option<Token>,
    /// The first index of its epoch: counters count from there.
    first: Index,
    reads: Reads,
    change: Option<Change>,
    /// Ticks since absent members were last invited.
    uninvited: u32,
}

/// How far a leader has come. Each stage waits for a quorum, itself among it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage {
    /// For learners, who tell which epochs they accepted.
    Connecting,
    /// For their promises to accept none below its own.
    Electing,
    /// For their word that they hold its history.
    Synchronisation,
    /// It is established, and broadcasts.
    Broadcast,
}

/// What a server does after it gave up its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Looks for a leader.
    Look,
    /// Looks for a leader, after a while: the last attempt came to nothing.
    Pause,
    /// Follows somebody.
    Follow(NodeId),
    /// Takes over.
    Lead,
    /// Nothing: it is of no use any more.
    Rest,
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
            Standing::Following(_) | Standing::Looking(_) | Standing::Resting => {}
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

    /// A leader pings, gives up the learners that are silent, and itself if no quorum is left.
    fn on_tick(&mut self, fx: &mut Effects<Self>) {
        let Standing::Leading(leading) = &mut self.standing else { return };
        let options = &self.cluster.options;
        leading.learners.retain(|node, learner| {
            learner.silent += 1;
            let limit = if learner.is_synced() { options.sync_limit } else { options.init_limit };
            let silent = learner.silent > limit;
            if silent {
                fx.disconnect(*node);
            }
            !silent
        });
        leading.uninvited += 1;
        let invites = leading.uninvited >= options.init_limit;
        if self.serves_as_leader() && !self.has_quorum(Learner::is_synced) {
            return self.abandon(Then::Look, fx);
        }
        self.arm_tick(fx);
        self.ping(fx);
        if invites && self.serves_as_leader() {
            self.invite_absent(fx);
        }
        self.count_change(fx);
    }

    fn arm_tick(&self, fx: &mut Effects<Self>) {
        let tick = self.cluster.options.tick_time;
        fx.push(Effect::SetTimer { timer: Timer::Tick, within: tick..=tick });
    }

    fn leading(&self) -> &Leading {
        match &self.standing {
            Standing::Leading(leading) => leading,
            _ => panic!("only leaders lead"),
        }
    }

    fn leading_mut(&mut self) -> &mut Leading {
        match &mut self.standing {
            Standing::Leading(leading) => leading,
            _ => panic!("only leaders lead"),
        }
    }

    fn following_mut(&mut self) -> &mut Following {
        match &mut self.standing {
            Standing::Following(following) => following,
            _ => panic!("only learners follow"),
        }
    }

    fn learner_mut(&mut self, node: NodeId) -> &mut Learner {
        let learner = self.leading_mut().learners.get_mut(&node);
        learner.expect("a learner is looked up where its message enters")
    }

    /// Whom this server follows or is, once that one's epoch is accepted.
    fn leader(&self) -> Option<NodeId> {
        match &self.standing {
            Standing::Following(following) if following.phase > Phase::Discovery => Some(following.leader),
            Standing::Leading(leading) if leading.stage > Stage::Electing => Some(self.cluster.me),
            _ => None,
        }
    }

    /// The leader to whom clients may be sent.
    fn serving_leader(&self) -> Option<NodeId> {
        match &self.standing {
            Standing::Following(following) if following.phase == Phase::Broadcast => Some(following.leader),
            _ => None,
        }
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

    /// Gives up its part: breaks the streams that it had by it, so that nothing of it comes late, and
    /// refuses what it still holds.
    fn abandon(&mut self, then: Then, fx: &mut Effects<Self>) {
        let reason = if self.failed { Rejection::Stopped } else { Rejection::NotLeader { leader: None } };
        let mut held = Vec::new();
        match std::mem::replace(&mut self.standing, Standing::Resting) {
            Standing::Leading(leading) => {
                leading.learners.keys().for_each(|learner| fx.disconnect(*learner));
                held.extend(leading.reads.into_requests());
                held.extend(leading.change.and_then(|change| change.request));
                fx.push(Effect::CancelTimer(Timer::Tick));
                fx.push(Effect::CancelTimer(Timer::Limit));
            }
            Standing::Following(following) => {
                fx.disconnect(following.leader);
                held.extend(following.syncs.into_iter().map(|(_, request)| request));
                fx.push(Effect::CancelTimer(Timer::Limit));
            }
            Standing::Looking(_) => {
                fx.push(Effect::CancelTimer(Timer::Notify));
                fx.push(Effect::CancelTimer(Timer::Finalize));
            }
            Standing::Resting => {}
        }
        for request in held {
            fx.push(Effect::Reject { request, reason });
        }
        if self.cluster.bugs.has(Bug::ElectionByDeliveredState) && self.commit < self.log.last().index {
            self.log.truncate(self.commit);
            self.regroup();
        }
        self.begin(then, fx);
    }

    /// Begins a new part.
    fn begin(&mut self, then: Then, fx: &mut Effects<Self>) {
        match then {
            _ if self.failed => {}
            Then::Follow(leader) => self.follow(self.vote_for(leader), fx),
            Then::Lead => self.lead(self.vote_for(self.cluster.me), fx),
            Then::Look | Then::Pause if !self.group.contains(self.cluster.me) => {
                self.standing = Standing::Resting;
            }
            Then::Look if !self.is_installing() => self.look(fx),
            Then::Look | Then::Pause => self.pause(fx),
            Then::Rest => self.standing = Standing::Resting,
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
