//! A replication protocol as a pure state machine, and the effects by which it acts.
//!
//! A replica cannot name a clock, a random generator, a file or a socket. It is told what happened
//! and answers with [`Effect`]s; the host carries them out. The caller's duties:
//!
//! 1. Records of [`Effect::Persist`] reach the journal in the order of their effects. When they are
//!    durable the host calls [`Replica::on_durable`]; when the journal refused, [`Replica::on_failed`].
//! 2. A [`Effect::Send`] with `after` is released when that token is durable, or never. Nothing else orders I/O.
//!    On a stream it belongs to the connection of the moment at which it was asked for: if that breaks
//!    meanwhile, the message is lost with it.
//! 3. Committed entries are applied in order, then [`Replica::on_applied`] is called.
//! 4. A timer is a *range*; the world draws the moment. Timers that are due fire before any message
//!    that arrives at the same moment or later.

use std::fmt::{self, Debug, Display};
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::bug::Bugs;
use crate::bytes::Bytes;
use crate::env::{Rejection, WireSize};
use crate::ids::{Epoch, GroupId, Index, Mark, NodeId, RequestId, Token};
use crate::kv::Op;
use crate::membership::Membership;
use crate::time::Time;

/// What a protocol assumes of the links between its replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Messages may be lost, repeated and reordered.
    Datagram,
    /// FIFO per connection, with a notice of disconnection.
    Stream,
}

/// What a protocol's log is like, for those who watch it from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogShape {
    /// A mark identifies an entry and all before it, epochs never fall along the log, and an entry
    /// replaces what stood at its index and beyond (Raft, ZAB, VR).
    Chain,
    /// Each index is decided by itself, and an entry's epoch is that of whoever got it decided (Paxos).
    Slots,
    /// Nothing is replicated in a log.
    None,
}

/// Who answers clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// The service, once it has applied an entry or at the index of a read.
    Service,
    /// The replica itself, by [`Effect::Reply`]; it is handed reads as commands too.
    Replica,
}

/// What a protocol promises to survive. Faults stay within it unless a scenario says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureModel {
    /// What was promised is durable: it survives a crash, or the node does not come back. Otherwise a
    /// crash takes a replica's memory, which counts as down until it is no longer [`Role::Recovering`].
    pub stable_storage: bool,
    /// Replicas in a hundred that may be down at once without loss of progress: 50 = a minority.
    pub tolerated_percent: u8,
}

impl FailureModel {
    /// How many of so many replicas may be down, or without their memory, at once: strictly less than the
    /// share that progress needs.
    pub fn tolerated(&self, replicas: usize) -> usize {
        (replicas * usize::from(self.tolerated_percent)).saturating_sub(1) / 100
    }
}

/// The group a replica belongs to, and how it is tuned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster<O> {
    /// The group.
    pub group: GroupId,
    /// This replica's node.
    pub me: NodeId,
    /// Who took part when the group was founded. A node that did not starts too, and takes no part until
    /// a change of the membership adds it.
    pub founders: Membership,
    /// The protocol's own options.
    pub options: O,
    /// Bugs planted in this run.
    pub bugs: Bugs,
}

impl<O> Cluster<O> {
    /// Group 0, founded by nodes 1 to `nodes` as voters, with nothing planted.
    pub fn new(me: NodeId, nodes: u16, options: O) -> Self {
        assert!(me.0 <= nodes, "{me} is not among {nodes} nodes");
        let founders = Membership::of((1..=nodes).map(NodeId::new));
        Self { group: GroupId(0), me, founders, options, bugs: Bugs::NONE }
    }

    /// The founders but this one, in order.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.founders.all().filter(|member| *member != self.me)
    }

    /// The size of a majority of the founding voters.
    pub fn quorum(&self) -> usize {
        self.founders.voters.len() / 2 + 1
    }
}

/// A client's command, encoded by its service; opaque to the protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Command {
    /// The proposing host's clock, for services that need time.
    pub proposed_at: Time,
    /// The service's encoding.
    pub data: Bytes,
}

/// A place in the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Its epoch and index.
    pub mark: Mark,
    /// What it holds.
    pub payload: Payload,
}

impl Entry {
    /// The client's command in it, if it holds one.
    pub fn command(&self) -> Option<&Command> {
        match &self.payload {
            Payload::Command(command) => Some(command),
            Payload::Noop | Payload::Membership(_) => None,
        }
    }
}

/// What an entry of a replicated log holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing: the protocol needed an entry.
    Noop,
    /// A client's command, for the service.
    Command(Command),
    /// A new membership of the group, for the protocol.
    Membership(Membership),
}

impl WireSize for Entry {
    fn wire_size(&self) -> usize {
        17 + match &self.payload {
            Payload::Noop => 0,
            Payload::Command(command) => 10 + command.data.len(),
            Payload::Membership(membership) => membership.wire_size(),
        }
    }
}

/// What a replica looks like from outside, for monitors and state-aware faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// What it takes itself for.
    pub role: Role,
    /// The latest epoch it has seen.
    pub epoch: Epoch,
    /// Whom it follows.
    pub leader: Option<NodeId>,
    /// The last entry of its log.
    pub last: Mark,
    /// Up to where it knows entries to be committed.
    pub commit: Index,
    /// A law of the protocol that another replica's message was seen to break: someone lied, or
    /// forgot what it had promised.
    pub broken: Option<&'static str>,
}

/// What a replica takes itself for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Tries to become leader.
    Candidate,
    /// Leads its epoch.
    Leader,
    /// Has lost what it knew and asks the others for it.
    Recovering,
}

impl Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
            Self::Recovering => "recovering",
        })
    }
}

impl Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} last={} commit={}", self.role, self.epoch, self.last, self.commit)
    }
}

/// What a record of a protocol's journal tells those who do not know the protocol.
pub trait JournalRecord {
    /// The log entry in it. An entry replaces what the log held at its index and beyond.
    fn entry(&self) -> Option<&Entry>;
    /// If the record says that the log now begins behind a mark (all up to it is in the service's
    /// state), that mark.
    fn log_start(&self) -> Option<Mark>;
    /// Whether it holds state that must never be forgotten, such as a vote or a promise.
    fn is_hard_state(&self) -> bool;
    /// The ballot below which an acceptor promises to accept nothing any more (Paxos, Phase 1b).
    fn promised(&self) -> Option<Epoch> {
        None
    }
    /// The ballot and the slot at which an acceptor accepts [`JournalRecord::entry`] (Paxos, Phase 2b).
    fn accepted(&self) -> Option<Mark> {
        None
    }
}

/// What an operator asks of a replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Stand for election now.
    Campaign,
    /// Hand the leadership over.
    Transfer {
        /// To whom.
        to: NodeId,
    },
    /// Change who takes part. Of `to`, `outgoing` is empty: how to get there is the protocol's affair.
    Reconfigure {
        /// The membership to come to.
        to: Membership,
    },
    /// Drop from the log all that the service durably includes.
    Compact,
}

impl Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Campaign => f.write_str("campaign"),
            Self::Transfer { to } => write!(f, "transfer to {to}"),
            Self::Reconfigure { to } => write!(f, "reconfigure to {to}"),
            Self::Compact => f.write_str("compact"),
        }
    }
}

/// What a replica finds when it starts.
#[derive(Clone, Debug)]
pub struct Recovered<Rec> {
    /// The journal's records, in order; empty at the first start.
    pub records: Vec<Rec>,
    /// Up to where the service's durable state includes the log.
    pub applied: Mark,
}

impl<Rec> Recovered<Rec> {
    /// A disk that was never written.
    pub fn empty() -> Self {
        Self { records: Vec::new(), applied: Mark::ZERO }
    }
}

/// A part of the service's state on its way to a replica that lags too far behind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotChunk {
    /// Up to where the state includes the log.
    pub snapshot: Mark,
    /// Where in the state's encoding this part begins, in bytes.
    pub offset: u64,
    /// The part.
    pub data: Bytes,
    /// Whether nothing follows.
    pub last: bool,
}

impl WireSize for SnapshotChunk {
    fn wire_size(&self) -> usize {
        25 + self.data.len()
    }
}

/// What a replica wants done. Carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<R: Replica> {
    /// Send a message, once `after` is durable.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: R::Message,
        /// Which write must be durable first.
        after: Option<Token>,
    },
    /// Break the stream to a peer, if there is one: what is under way either way, or still waits for a
    /// write, may be lost. The peer hears of it, this replica does not; its next message opens a new one.
    Disconnect {
        /// Whose.
        peer: NodeId,
    },
    /// Write records to the journal, then report `token` as durable.
    Persist {
        /// What the write is known by.
        token: Token,
        /// What to write, in order.
        records: Vec<R::Record>,
    },
    /// Arm (or arm again) a timer to fire within a range of delays.
    SetTimer {
        /// Which.
        timer: R::Timer,
        /// From when to when.
        within: RangeInclusive<Duration>,
    },
    /// Disarm a timer.
    CancelTimer(R::Timer),
    /// These entries are committed: apply them, in order.
    Commit(Vec<Entry>),
    /// A proposal stands in the log at `mark`. It is answered when that entry is applied, and lost
    /// if another entry is applied at its index.
    Proposed {
        /// Whose.
        request: RequestId,
        /// Where.
        mark: Mark,
    },
    /// A request is answered by the protocol itself, once `after` is durable.
    Reply {
        /// Which.
        request: RequestId,
        /// The service's encoding of the answer ([`crate::Service::encode_answer`]).
        answer: Bytes,
        /// Which write must be durable first.
        after: Option<Token>,
    },
    /// What an operator asked for is done. (A change that became an entry is done when that is applied:
    /// it is answered by [`Effect::Proposed`].)
    Controlled {
        /// Which request.
        request: RequestId,
    },
    /// A read may be served from the service's state once that includes `index`.
    ReadAt {
        /// Which read.
        request: RequestId,
        /// From when on.
        index: Index,
    },
    /// A request is refused.
    Reject {
        /// Which.
        request: RequestId,
        /// Why.
        reason: Rejection,
    },
    /// Read a part of a snapshot of the service's state for `to`; answered by [`Replica::on_chunk`].
    ReadChunk {
        /// For whom; handed back.
        to: NodeId,
        /// Of which snapshot; `None` takes one now. If that one is gone the answer is the first
        /// part of a newer one.
        snapshot: Option<Mark>,
        /// From which byte on.
        offset: u64,
    },
    /// Put aside a part of a snapshot that is being received.
    Stage(SnapshotChunk),
    /// Replace the service's state by the staged snapshot, then report `token` as durable. Entries
    /// committed before this effect are applied before it.
    Install {
        /// What the replacement is known by.
        token: Token,
        /// Which snapshot: all its parts were staged.
        snapshot: Mark,
    },
    /// The journal may forget entries below `below`. State that is to stay was persisted again
    /// before this effect.
    Purge {
        /// The first index to keep.
        below: Index,
    },
}

/// Where a replica puts its effects, and where its tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects<R: Replica> {
    list: Vec<Effect<R>>,
    last_token: Token,
}

impl<R: Replica> Default for Effects<R> {
    fn default() -> Self {
        Self { list: Vec::new(), last_token: Token(0) }
    }
}

impl<R: Replica> Effects<R> {
    /// Adds an effect.
    pub fn push(&mut self, effect: Effect<R>) {
        self.list.push(effect);
    }

    /// Sends a message, once `after` is durable.
    pub fn send(&mut self, to: NodeId, message: R::Message, after: Option<Token>) {
        self.push(Effect::Send { to, message, after });
    }

    /// Breaks the stream to a peer.
    pub fn disconnect(&mut self, peer: NodeId) {
        self.push(Effect::Disconnect { peer });
    }

    /// Writes records to the journal and returns what the write is known by.
    pub fn persist(&mut self, records: Vec<R::Record>) -> Token {
        let token = self.token();
        self.push(Effect::Persist { token, records });
        token
    }

    /// A token that nothing else carries: above all that are under way. (An explorer lets the count go on
    /// from those, so that states do not differ by what is over. A replica forgets a token once it is
    /// durable.)
    pub fn token(&mut self) -> Token {
        self.last_token.0 += 1;
        self.last_token
    }

    /// No effects yet, and tokens that go on behind `last`.
    pub fn after(last: Token) -> Self {
        Self { list: Vec::new(), last_token: last }
    }

    /// What was asked for since the last [`Effects::clear`].
    pub fn list(&self) -> &[Effect<R>] {
        &self.list
    }

    /// Takes the effects out, in order, and leaves the tokens' count.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect<R>> {
        self.list.drain(..)
    }

    /// Forgets the effects and leaves the tokens' count.
    pub fn clear(&mut self) {
        self.list.clear();
    }
}

/// A replication protocol as a pure state machine: no clock, no randomness, no I/O. See the
/// [module](self) for the caller's duties. It is plain data, which an explorer's threads may share.
pub trait Replica: Clone + Debug + Eq + Hash + Send + Sync + Sized + 'static {
    /// Its name in scenarios.
    const NAME: &'static str;
    /// What it assumes of the network.
    const CHANNEL: Channel;
    /// What it promises to survive.
    const FAILURES: FailureModel;
    /// What its log is like.
    const LOG: LogShape = LogShape::Chain;
    /// Who answers clients.
    const ANSWERS: Answers = Answers::Service;
    /// The operations that it serves, by their names; all by default.
    const OPERATIONS: &'static [&'static str] = &Op::NAMES;
    /// Whether a request that may have been lost may be sent again, to any server, and still takes effect
    /// once: by the sessions of a service, or because the protocol makes it so.
    const RETRIES_ARE_SAFE: bool = true;
    /// How it is tuned; part of a scenario.
    type Options: ProtocolOptions;
    /// What replicas say to each other.
    type Message: Clone + Debug + Display + Eq + Ord + Hash + Send + Sync + WireSize + 'static;
    /// Of its timers the one, if there is one, that only paces what it says unasked, such as heartbeats. It may
    /// fire before its time, so that the groups of one server do so together.
    const BEAT: Option<Self::Timer> = None;
    /// What it waits for.
    type Timer: Copy + Debug + Eq + Ord + Hash + Send + Sync + 'static;
    /// What its journal holds.
    type Record: Clone
        + Debug
        + Eq
        + Hash
        + JournalRecord
        + Send
        + Sync
        + Serialize
        + DeserializeOwned
        + 'static;

    /// Starts from what the disk holds.
    fn start(
        cluster: &Cluster<Self::Options>,
        durable: Recovered<Self::Record>,
        fx: &mut Effects<Self>,
    ) -> Self;
    /// A message from another member.
    fn on_message(&mut self, from: NodeId, message: Self::Message, fx: &mut Effects<Self>);
    /// The stream to a peer broke: what was in flight may be lost. Never called on datagrams.
    fn on_disconnect(&mut self, _peer: NodeId, _fx: &mut Effects<Self>) {}
    /// A timer fired; it is no longer armed.
    fn on_timer(&mut self, timer: Self::Timer, fx: &mut Effects<Self>);
    /// A write is durable, and so is every write before it; or an installation is, which says nothing of writes.
    fn on_durable(&mut self, token: Token, fx: &mut Effects<Self>);
    /// The journal refused a write. No later one will succeed.
    fn on_failed(&mut self, token: Token, fx: &mut Effects<Self>);
    /// The service has applied all entries up to `applied`, and holds durably those up to `durable`.
    fn on_applied(&mut self, applied: Index, durable: Mark, fx: &mut Effects<Self>);
    /// The answer to [`Effect::ReadChunk`].
    fn on_chunk(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>);
    /// A client's command.
    fn propose(&mut self, request: RequestId, command: Command, fx: &mut Effects<Self>);
    /// A client's read.
    fn read(&mut self, request: RequestId, fx: &mut Effects<Self>);
    /// What an operator asks for. Done, it is told by [`Effect::Controlled`] or [`Effect::Proposed`];
    /// otherwise by [`Effect::Reject`].
    fn control(&mut self, request: RequestId, _control: Control, fx: &mut Effects<Self>) {
        fx.push(Effect::Reject { request, reason: Rejection::Unsupported });
    }
    /// What it looks like from outside.
    fn view(&self) -> View;
    /// Who takes part, as far as this replica knows.
    fn membership(&self) -> &Membership;
}

/// How a protocol is tuned.
pub trait ProtocolOptions:
    Clone + Debug + Default + Eq + Hash + Send + Sync + Serialize + DeserializeOwned + 'static
{
    /// Whether the options can work together. An error begins with the option's name and a colon.
    fn check(&self) -> Result<(), String>;
    /// If promises rest on clocks, as leases do: how far the rate of any may be from that of true time, in parts
    /// per million. None may stand still.
    fn clock_drift_bound(&self) -> Option<u32> {
        None
    }
    /// The memberships that a change goes through, each of which may be in force by itself if it comes to no end,
    /// when `leader` is asked for it: the last is `to`.
    fn steps(&self, _leader: NodeId, _from: &Membership, to: &Membership) -> Vec<Membership> {
        vec![to.clone()]
    }
    /// Whether they can work in a group of so many voters: sizes of quorums cannot in any. An error
    /// begins like those of [`ProtocolOptions::check`].
    fn check_for(&self, _voters: usize) -> Result<(), String> {
        Ok(())
    }
}
