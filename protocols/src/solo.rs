//! No replication: the first of the founding voters serves alone, and the others send clients to it.
//!
//! This is the smallest [`Replica`], and a way to read what one is. Events come in by its methods;
//! what it wants done goes out as effects. Three of them make a server: it *persists* a client's
//! command, *commits* it once the write is durable, so that the service applies it and the host
//! answers, and lets a read see all that is committed. Nothing is acknowledged that a power loss
//! could take back, and that is the whole protocol.
//!
//! What it promises is little: while its one node is down there is no progress, and once that node's
//! disk is gone everything is. The protocols beside it are what it takes to promise more.
//!
//! At a start the journal holds every command that was acknowledged and that the service's durable
//! state may lack, perhaps with others behind it that nobody heard of. All of them are durable now,
//! and so committed. What the service durably holds the journal may forget.

use std::collections::VecDeque;
use std::fmt;

use contract::{
    Channel, Cluster, Command, Effect, Effects, Entry, Epoch, FailureModel, Index, JournalRecord, LogShape,
    Mark, Membership, NodeId, Payload, ProtocolOptions, Recovered, Rejection, Replica, RequestId, Role,
    SnapshotChunk, Token, View, WireSize,
};
use serde::{Deserialize, Serialize};

/// The one reign there is.
const EPOCH: Epoch = Epoch(1);

/// An unreplicated server. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Solo {
    me: NodeId,
    members: Membership,
    /// The last index that was given out.
    last: Index,
    commit: Index,
    /// Entries whose writes are under way, in order.
    writing: VecDeque<(Token, Entry)>,
    /// The journal refused a write: nothing can be promised any more.
    failed: bool,
}

/// There is nothing to tune.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {}

impl ProtocolOptions for Options {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Nobody is written to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {}

impl fmt::Display for Message {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl WireSize for Message {
    fn wire_size(&self) -> usize {
        match *self {}
    }
}

/// Nothing is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {}

/// A command in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record(Entry);

impl JournalRecord for Record {
    fn entry(&self) -> Option<&Entry> {
        Some(&self.0)
    }

    fn log_start(&self) -> Option<Mark> {
        None
    }

    fn is_hard_state(&self) -> bool {
        false
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}", self.0.mark)
    }
}

impl Solo {
    fn server(&self) -> NodeId {
        *self.members.voters.first().expect("a group has voters")
    }

    /// Why a request is not served here.
    fn refusal(&self) -> Option<Rejection> {
        if self.me != self.server() {
            return Some(Rejection::NotLeader { leader: Some(self.server()) });
        }
        self.failed.then_some(Rejection::Stopped)
    }

    fn commit(&mut self, entries: Vec<Entry>, fx: &mut Effects<Self>) {
        let Some(last) = entries.last() else { return };
        assert_eq!(entries[0].mark.index, self.commit.next(), "entries are committed in order, each once");
        self.commit = last.mark.index;
        fx.push(Effect::Commit(entries));
    }
}

impl Replica for Solo {
    const NAME: &'static str = "solo";
    const CHANNEL: Channel = Channel::Datagram;
    const FAILURES: FailureModel = FailureModel { stable_storage: true, tolerated_percent: 0 };
    /// An entry that was lost before it was durable has its mark given out again.
    const LOG: LogShape = LogShape::None;
    type Options = Options;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;

    fn start(cluster: &Cluster<Options>, durable: Recovered<Record>, fx: &mut Effects<Self>) -> Self {
        let entries = durable.records.into_iter().map(|Record(entry)| entry);
        let ahead: Vec<Entry> = entries.filter(|entry| entry.mark.index > durable.applied.index).collect();
        let mut solo = Self {
            me: cluster.me,
            members: cluster.founders.clone(),
            last: ahead.last().map_or(durable.applied.index, |entry| entry.mark.index),
            commit: durable.applied.index,
            writing: VecDeque::new(),
            failed: false,
        };
        solo.commit(ahead, fx);
        solo
    }

    fn on_message(&mut self, _: NodeId, message: Message, _: &mut Effects<Self>) {
        match message {}
    }

    fn on_timer(&mut self, timer: Timer, _: &mut Effects<Self>) {
        match timer {}
    }

    fn on_durable(&mut self, token: Token, fx: &mut Effects<Self>) {
        let mut durable = Vec::new();
        while let Some((_, entry)) = self.writing.pop_front_if(|(write, _)| *write <= token) {
            durable.push(entry);
        }
        self.commit(durable, fx);
    }

    fn on_failed(&mut self, _: Token, _: &mut Effects<Self>) {
        self.failed = true;
    }

    fn on_applied(&mut self, applied: Index, durable: Mark, fx: &mut Effects<Self>) {
        assert!(durable.index <= applied && applied <= self.commit, "what is not committed is not applied");
        fx.push(Effect::Purge { below: durable.index.next() });
    }

    fn on_chunk(&mut self, to: NodeId, _: SnapshotChunk, _: &mut Effects<Self>) {
        unreachable!("no snapshot is sent to {to}");
    }

    fn propose(&mut self, request: RequestId, command: Command, fx: &mut Effects<Self>) {
        if let Some(reason) = self.refusal() {
            return fx.push(Effect::Reject { request, reason });
        }
        self.last = self.last.next();
        let mark = Mark { epoch: EPOCH, index: self.last };
        let entry = Entry { mark, payload: Payload::Command(command) };
        let token = fx.persist(vec![Record(entry.clone())]);
        self.writing.push_back((token, entry));
        fx.push(Effect::Proposed { request, mark });
    }

    fn read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        fx.push(match self.refusal() {
            Some(reason) => Effect::Reject { request, reason },
            None => Effect::ReadAt { request, index: self.commit },
        });
    }

    fn view(&self) -> View {
        let role = if self.me == self.server() { Role::Leader } else { Role::Follower };
        let last = Mark { epoch: EPOCH, index: self.last };
        let leader = Some(self.server());
        View { role, epoch: EPOCH, leader, last, commit: self.commit, broken: None }
    }

    fn membership(&self) -> &Membership {
        &self.members
    }
}
