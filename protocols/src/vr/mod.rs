//! Viewstamped Replication Revisited, after B. Liskov and J. Cowling (MIT-CSAIL-TR-2012-021), cited as §.
//! What was found wrong in it since is cited where it is mended.
//!
//! # The protocol
//!
//! A group of 2f + 1 replicas keeps a log of operations, the same everywhere, and each applies it to its
//! service. Unlike the other protocols here it keeps nothing of that on a disk: what makes an operation
//! safe is that f + 1 replicas hold it in *memory*, and that at most f of them lose theirs at once. A
//! commit costs one round trip and no flush.
//!
//! **Normal operation** (§4.1, `normal.rs`). *Views* number the reigns; the members take turns as primary,
//! so a view's number says who it is. The primary takes the operations of clients, gives them op-numbers
//! and sends them to the backups. What f + 1 hold is committed.
//!
//! **View changes** (§4.2, `view_change.rs`). A backup that hears nothing calls for the next view. Once f
//! others do so too, it tells the new primary its log. Of f + 1 logs the new primary takes the one that was
//! a log of the latest view, and of those the longest: it has all that can have been committed. With it the
//! view begins.
//!
//! **Recovery** (§4.3, `recovery.rs`). A replica that crashed comes back as a *recovering* one, and takes no
//! part. It asks the others; once f + 1 have answered, and among them the primary of the latest view that
//! they tell of, it has what it had acknowledged before, or something newer.
//!
//! **State transfer** (§5, `transfer.rs`). A replica that lags behind asks for what it lacks. The service's
//! state is the checkpoint of §5.1: it includes what was applied, which is committed, and so nothing is
//! wrong with having it on a disk. A recovering replica begins from there. What the others' logs have
//! dropped it is sent as a checkpoint, in parts.
//!
//! **Reconfiguration** (§7, `epoch.rs`). The operation that calls for a new group is the last one of its
//! *epoch*. When it is committed the next epoch begins, with the new group and that log.
//!
//! **Clients** (§4.1's client table) are the service's affair: its sessions are part of the replicated state,
//! and make each request take effect once.
//!
//! **Reads** (`read.rs`) take no place in the log.
//!
//! # Whose word counts
//!
//! As published, recovery loses operations even if only one replica is ever down: what a replica said in a
//! view change before it crashed may be counted after it has recovered into an earlier view and acknowledged
//! something there (Michael and others, DISC 2017). `starts.rs` tells how that is mended, by their crash
//! vectors.
//!
//! As published, state transfer loses operations too. A replica that hears of a later view is to cut its log
//! back to its commit-number and to ask for the rest (§5.2). What it cuts off it has acknowledged, and with
//! others that do the same it may form the quorum of the next view change before any answer has come. Here a
//! replica keeps its log, and says that it is of the earlier view, until it has the later view's; then it
//! takes over both in one step.
//!
//! # Invariants
//!
//! - Views and commit-numbers never fall while a replica is up.
//! - A log is a log of the view `last_normal`, the latest in which its replica was in normal operation.
//! - Nothing that is committed is ever removed or replaced.
//! - A recovering replica says nothing that counts.
//! - While a checkpoint is installed a replica hears nothing.
//!
//! These are asserted. Laws that hold only because *others* keep to the protocol are not: a message that
//! contradicts one is dropped, and [`Vr::broken_law`] tells.
//!
//! # Deviations from the paper
//!
//! - The nonce of a recovery is the number of times that the node has started. That number is on its disk,
//!   and nothing leaves before it is: the one thing that a replica must not lose. The paper takes a clock or a
//!   random number, which a replica here does not have. It serves as the replica's own entry of the crash
//!   vector too, which otherwise would have to be recovered from the others.
//! - Who takes part is on the disk too, from the moment on at which a replica does in a new epoch. It would
//!   otherwise recover among the members of an epoch that is over.
//! - A replica calls for one view after the other only if a quorum has joined it and the new primary does not
//!   answer. One that is alone waits, and does not run ahead of the others' views.
//! - The new primary may lack what a better log has dropped. It fetches a checkpoint before the view begins.
//! - Reads wait for a quorum to confirm the view (as Raft's do), where the paper has leases or takes them for
//!   writes.
//! - A new epoch's primary need not be up to date: members that are begin without it, by a view change.
//! - Views count on from epoch to epoch, by a million each.
//! - There are no witnesses or learners.

mod epoch;
mod group;
mod log;
mod message;
mod normal;
mod options;
mod read;
mod record;
mod recovery;
mod starts;
mod transfer;
mod view_change;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use contract::{
    Channel, Cluster, Command, Control, Effect, Effects, Epoch, FailureModel, Index, Mark, Membership,
    NodeId, Payload, ProtocolOptions, Recovered, Rejection, Replica, RequestId, Role, SnapshotChunk, Token,
    View,
};

pub use group::Group;
pub use log::Suffix;
pub use message::Message;
pub use options::{OptionError, Options};
pub use record::Record;
pub use starts::Starts;

use group::epoch_of;
use log::Log;
use normal::Leading;
use recovery::Recovery;
use transfer::Fetch;
use view_change::Change;

/// What a replica waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The primary, or the end of a view change.
    ViewChange,
    /// To be heard from; to say again what may have been lost.
    Heartbeat,
}

/// A law that holds as long as every replica keeps to the protocol, and at most f lose their memory at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// In a view only its primary gives out op-numbers: another replica claims to, or holds what was not
    /// given out.
    OnePrimary,
    /// What is committed is in the log of every later view: one lacks it, or holds something else.
    CommittedStays,
}

impl Law {
    /// The law's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnePrimary => "one primary per view",
            Self::CommittedStays => "what is committed stays",
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
pub struct Vr {
    cluster: Arc<Cluster<Options>>,
    /// How often each node has started, as far as this one knows.
    starts: Starts,
    /// Who takes part in the present epoch.
    group: Group,
    view: Epoch,
    /// The latest view in which it was in normal operation (v' in §4.2).
    last_normal: Epoch,
    status: Status,
    log: Log,
    commit: Index,
    /// A checkpoint that is being received.
    fetch: Option<Fetch>,
    /// The write of its start or of its group, while it is under way. Nothing leaves before.
    saving: Option<Token>,
    /// The journal refused a write: nothing can be promised any more.
    failed: bool,
    broken: Option<Law>,
}

/// What a replica is in its view, and what it knows by that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Status {
    /// It has no part in the group: not yet, or no longer.
    Outside(Option<Handover>),
    Backup,
    Primary(Leading),
    Changing(Change),
    Recovering(Recovery),
}

/// What a replica does that was replaced, until enough of the new group have begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Handover {
    /// Who has.
    begun: BTreeSet<NodeId>,
    /// It crashed meanwhile, and has nothing to hand over.
    forgot: bool,
}

impl Replica for Vr {
    const NAME: &'static str = "vr";
    const CHANNEL: Channel = Channel::Datagram;
    const FAILURES: FailureModel = FailureModel { stable_storage: false, tolerated_percent: 50 };
    const BEAT: Option<Timer> = Some(Timer::Heartbeat);
    type Options = Options;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;

    fn start(cluster: &Cluster<Options>, durable: Recovered<Record>, fx: &mut Effects<Self>) -> Self {
        assert_eq!(cluster.options.check(), Ok(()), "options were checked when they were read");
        let applied = durable.applied;
        let (mut number, mut group) = (0, Group::founding(&cluster.founders));
        for record in durable.records {
            match record {
                Record::Start { number: next } => number = next,
                Record::Group(next) => group = next,
            }
        }
        // Before its first start was durable it cannot have said anything.
        let fresh = number == 0 && applied == Mark::ZERO;
        number += 1;
        let status = if group.contains(cluster.me) {
            Status::Recovering(Recovery::new(fresh))
        } else if group.since > Index::ZERO {
            Status::Outside(Some(Handover { begun: BTreeSet::new(), forgot: true }))
        } else {
            Status::Outside(None)
        };
        let view = group.first.max(applied.epoch);
        let mut starts = Starts::default();
        starts.learn(cluster.me, number);
        let saving = Some(fx.persist(vec![Record::Start { number }]));
        let vr = Self {
            cluster: Arc::new(cluster.clone()),
            starts,
            group,
            view,
            last_normal: view,
            status,
            log: Log::behind(applied),
            commit: applied.index,
            fetch: None,
            saving,
            failed: false,
            broken: None,
        };
        vr.assert_laws();
        vr
    }

    fn on_message(&mut self, from: NodeId, message: Message, fx: &mut Effects<Self>) {
        if self.failed || self.is_installing() {
            return;
        }
        assert!(from != self.cluster.me, "nobody writes to themselves");
        if let Some(starts) = message.starts() {
            self.starts.merge(starts);
        }
        if self.is_of_this_epoch(from, &message, fx) {
            self.take(from, message, fx);
        }
        self.assert_laws();
    }

    fn on_timer(&mut self, timer: Timer, fx: &mut Effects<Self>) {
        match timer {
            _ if self.failed => {}
            Timer::ViewChange => self.on_view_change_timer(fx),
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
        } else if self.saving == Some(token) {
            self.saving = None;
            self.on_saved(fx);
        }
        self.assert_laws();
    }

    fn on_failed(&mut self, _: Token, fx: &mut Effects<Self>) {
        if !std::mem::replace(&mut self.failed, true) {
            self.enter(Status::Outside(None), fx);
        }
    }

    fn on_applied(&mut self, applied: Index, durable: Mark, _: &mut Effects<Self>) {
        if self.failed || self.is_installing() {
            return;
        }
        assert!(durable.index <= applied && applied <= self.commit, "only what is committed is applied");
        let options = &self.cluster.options;
        if applied.0.saturating_sub(self.log.start().index.0) > options.snapshot_entries {
            self.log.compact(self.log.mark_at(Index(applied.0 - options.keep_entries)));
        }
        self.assert_laws();
    }

    fn on_chunk(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        self.send_chunk(to, chunk, fx);
    }

    fn propose(&mut self, request: RequestId, command: Command, fx: &mut Effects<Self>) {
        match self.refusal() {
            Some(reason) => fx.push(Effect::Reject { request, reason }),
            None => self.order(request, Payload::Command(command), fx),
        }
        self.assert_laws();
    }

    fn read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        self.serve_read(request, fx);
    }

    fn control(&mut self, request: RequestId, control: Control, fx: &mut Effects<Self>) {
        match control {
            _ if self.failed || self.is_installing() => {
                fx.push(Effect::Reject { request, reason: Rejection::NotLeader { leader: None } });
            }
            Control::Campaign => self.campaign(request, fx),
            Control::Transfer { to } => self.transfer(request, to, fx),
            Control::Reconfigure { to } => self.reconfigure(request, &to, fx),
            Control::Compact => {
                self.log.compact(self.log.mark_at(self.commit));
                fx.push(Effect::Controlled { request });
            }
        }
        self.assert_laws();
    }

    fn view(&self) -> View {
        let role = match self.status {
            Status::Outside(Some(Handover { forgot: true, .. })) => Role::Recovering,
            Status::Outside(_) | Status::Backup => Role::Follower,
            Status::Primary(_) => Role::Leader,
            Status::Changing(_) => Role::Candidate,
            Status::Recovering(_) => Role::Recovering,
        };
        View {
            role,
            epoch: self.view,
            leader: self.leader(),
            last: self.log.last(),
            commit: self.commit,
            broken: self.broken.map(Law::name),
        }
    }

    fn membership(&self) -> &Membership {
        &self.group.members
    }
}

impl Vr {
    /// The first law that a message of another replica was seen to break.
    pub fn broken_law(&self) -> Option<Law> {
        self.broken
    }

    /// The entries that the log holds, and the mark behind which they begin.
    pub fn entries(&self) -> (Mark, impl Iterator<Item = &contract::Entry>) {
        (self.log.start(), self.log.entries())
    }

    fn take(&mut self, from: NodeId, message: Message, fx: &mut Effects<Self>) {
        match message {
            Message::Prepare { view, prev, entries, commit, round } => {
                self.on_prepare(from, view, prev, entries, commit, round, fx);
            }
            Message::PrepareOk { view, op, round } => self.on_prepare_ok(from, view, op, round, fx),
            Message::StartViewChange { view, starts } => self.on_start_view_change(from, view, &starts, fx),
            Message::DoViewChange { view, last_normal, log, commit, starts } => {
                self.on_do_view_change(from, view, &starts, (last_normal, log, commit), fx);
            }
            Message::StartView { view, log, commit } | Message::NewState { view, log, commit } => {
                self.on_log(from, view, &log, commit, fx);
            }
            Message::Recovery { nonce, after, .. } => self.on_recovery(from, nonce, after, fx),
            Message::RecoveryResponse { view, nonce, log, starts } => {
                self.on_recovery_response(from, view, nonce, log, &starts, fx);
            }
            Message::GetState { after, .. } => self.on_get_state(from, after, fx),
            Message::GetSnapshot { snapshot, offset } => self.on_get_snapshot(from, snapshot, offset, fx),
            Message::Snapshot { view, chunk, group } => self.on_snapshot(from, view, chunk, group, fx),
            Message::StartEpoch { view } => self.on_start_epoch(from, view, fx),
            Message::EpochStarted { .. } => self.on_epoch_started(from),
        }
    }

    fn breaks(&mut self, law: Law) {
        self.broken.get_or_insert(law);
    }

    fn primary(&self) -> NodeId {
        self.group.primary(self.view)
    }

    /// Who is asked by clients. A replica that has no part in the group does not hear of later views.
    fn leader(&self) -> Option<NodeId> {
        self.is_normal().then(|| self.primary())
    }

    /// Whether it is in normal operation: its log is one of the present view.
    fn is_normal(&self) -> bool {
        matches!(self.status, Status::Backup | Status::Primary(_))
    }

    /// Sends a message, once its start and its group are durable.
    fn send(&self, to: NodeId, message: Message, fx: &mut Effects<Self>) {
        fx.send(to, message, self.saving);
    }

    fn broadcast(&self, message: &Message, fx: &mut Effects<Self>) {
        for member in self.group.others(self.cluster.me) {
            self.send(member, message.clone(), fx);
        }
    }

    /// Becomes something else. Reads that a primary has not served are sent elsewhere.
    fn enter(&mut self, status: Status, fx: &mut Effects<Self>) {
        let before = std::mem::replace(&mut self.status, status);
        if let Status::Primary(leading) = before {
            let reason = match self.failed {
                true => Rejection::Stopped,
                false => Rejection::NotLeader { leader: None },
            };
            for request in leading.reads.into_requests() {
                fx.push(Effect::Reject { request, reason });
            }
        }
        match self.status {
            Status::Outside(_) | Status::Recovering(_) | Status::Primary(_) => {
                fx.push(Effect::CancelTimer(Timer::ViewChange));
            }
            Status::Backup | Status::Changing(_) => self.arm_view_change_timer(fx),
        }
    }

    /// Enters normal operation in a view whose log it holds.
    fn enter_view(&mut self, view: Epoch, fx: &mut Effects<Self>) {
        assert!(view >= self.view && self.group.contains(self.cluster.me));
        (self.view, self.last_normal) = (view, view);
        if self.primary() == self.cluster.me {
            self.enter(Status::Primary(Leading::new(self.log.last().index)), fx);
            self.arm_heartbeat_timer(fx);
        } else {
            self.enter(Status::Backup, fx);
        }
    }

    /// Whether it may take in the log of another view in the place of its own. If it lacks what stands
    /// before it asks for a checkpoint.
    fn adopt(&mut self, from: NodeId, log: &Suffix, fx: &mut Effects<Self>) -> bool {
        if log.start.index > self.commit && !self.log.holds(log.start) {
            self.fetch_snapshot(from, fx);
            return false;
        }
        if log.last().index < self.commit || self.log.contradicts(log, self.commit) {
            self.breaks(Law::CommittedStays);
            return false;
        }
        let kept = self.commit.max(log.start.index);
        self.log.truncate(kept);
        for entry in log.entries.iter().filter(|entry| entry.mark.index > kept) {
            self.log.append(entry.clone());
        }
        true
    }

    /// Says again what may have been lost, as long as something may.
    fn on_heartbeat_timer(&mut self, fx: &mut Effects<Self>) {
        let installing = self.is_installing();
        match &self.status {
            _ if installing => {}
            Status::Primary(_) => self.repeat_prepares(fx),
            Status::Changing(_) => self.repeat_view_change(fx),
            Status::Recovering(_) => self.ask_for_recovery(fx),
            Status::Outside(Some(_)) => self.hand_over(fx),
            Status::Outside(None) | Status::Backup => {}
        }
        if !installing {
            self.repeat_fetch(fx);
        }
        let idle = matches!(self.status, Status::Outside(None) | Status::Backup);
        if !idle || self.fetch.is_some() {
            self.arm_heartbeat_timer(fx);
        }
    }

    fn arm_view_change_timer(&self, fx: &mut Effects<Self>) {
        let (min, max) = self.cluster.options.view_change_timeout;
        fx.push(Effect::SetTimer { timer: Timer::ViewChange, within: min..=max });
    }

    fn arm_heartbeat_timer(&self, fx: &mut Effects<Self>) {
        let interval = self.cluster.options.heartbeat_interval;
        fx.push(Effect::SetTimer { timer: Timer::Heartbeat, within: interval..=interval });
    }

    fn assert_laws(&self) {
        assert!(self.commit <= self.log.last().index, "only entries that exist are committed");
        assert!(self.commit >= self.log.start().index, "only committed entries leave the log");
        assert!(self.view >= self.log.last().epoch, "no entry is of a view that has not begun");
        assert!(self.view >= self.last_normal, "views never fall");
        assert_eq!(epoch_of(self.view), epoch_of(self.group.first), "a view is one of its epoch");
        assert!(!self.is_normal() || self.last_normal == self.view, "its log is one of the view");
        let is_primary = matches!(self.status, Status::Primary(_));
        assert!(!is_primary || self.primary() == self.cluster.me, "a view's number says who leads it");
        assert!(!is_primary || !self.is_installing(), "a primary has all that is committed");
    }
}
