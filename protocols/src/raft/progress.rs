//! What a leader knows of one follower, and how much it may send it.
//!
//! - *Probe*: where the logs agree is unknown. One append at a time, until one is accepted.
//! - *Replicate*: the logs agree. Appends follow each other without waiting, up to a window of so many
//!   appends and bytes; `next` runs ahead of what was acknowledged. A rejection means that something was lost: back to probing.
//! - *Snapshot*: what the follower lacks has left the log. One part of a snapshot at a time; what to
//!   send next is what the follower says it lacks.

use std::collections::VecDeque;

use contract::{Index, Mark, NodeId};

use super::Options;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    pub(super) peer: NodeId,
    /// The follower durably holds the log up to here (`matchIndex`); never falls.
    pub(super) matched: Index,
    /// The first entry of the next append (`nextIndex`).
    pub(super) next: Index,
    pub(super) mode: Mode,
    /// The latest round of reads that it has echoed.
    pub(super) round: u64,
    /// Heard from since the leader last counted its followers.
    pub(super) active: bool,
    /// Its service's state does not reach its log: what a snapshot must reach to make up for that.
    pub(super) lacks: Option<Index>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    Probe {
        /// An append is under way; the next heartbeat stands in for it should it be lost.
        waiting: bool,
    },
    Replicate(Window),
    Snapshot(Transfer),
}

/// The appends under way to a follower that keeps up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Window {
    /// The last index of each, in order, and its bytes.
    appends: VecDeque<(Index, u64)>,
    bytes: u64,
}

impl Window {
    fn is_full(&self, options: &Options) -> bool {
        self.appends.len() >= options.max_inflight || self.bytes >= options.max_inflight_bytes
    }

    fn add(&mut self, last: Index, bytes: u64) {
        self.appends.push_back((last, bytes));
        self.bytes += bytes;
    }

    fn free_up_to(&mut self, matched: Index) {
        while let Some((_, bytes)) = self.appends.pop_front_if(|(last, _)| *last <= matched) {
            self.bytes -= bytes;
        }
        assert!(!self.appends.is_empty() || self.bytes == 0, "an empty window holds no bytes");
    }
}

/// A snapshot on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Transfer {
    /// Which; `None` until its first part was read.
    pub(super) snapshot: Option<Mark>,
    /// The first byte that the follower lacks.
    pub(super) offset: u64,
    /// The length of the whole, known when its last part was sent.
    pub(super) end: Option<u64>,
    /// Heartbeats since something last moved: after two, the part is read and sent again.
    pub(super) idle_heartbeats: u8,
}

impl Progress {
    /// At the start of a term a follower is taken to hold all that the leader does (Fig. 2).
    pub(super) fn new(peer: NodeId, last: Index) -> Self {
        let mode = Mode::Probe { waiting: false };
        Self { peer, matched: Index::ZERO, next: last.next(), mode, round: 0, active: true, lacks: None }
    }

    pub(super) fn heard(&mut self, round: u64) {
        self.active = true;
        self.round = self.round.max(round);
    }

    /// Whether an append may be sent, given the leader's last index.
    pub(super) fn may_send(&self, last: Index, options: &Options) -> bool {
        assert!(self.next <= last.next(), "nothing is sent before it exists");
        match &self.mode {
            Mode::Probe { waiting } => !waiting,
            Mode::Replicate(window) => self.next <= last && !window.is_full(options),
            Mode::Snapshot(_) => false,
        }
    }

    /// An append with so many bytes of entries up to `last` was sent.
    pub(super) fn sent(&mut self, last: Index, bytes: u64) {
        match &mut self.mode {
            Mode::Probe { waiting } => *waiting = true,
            Mode::Replicate(window) => {
                assert!(last >= self.next, "a follower that keeps up is sent entries or nothing");
                window.add(last, bytes);
                self.next = last.next();
            }
            Mode::Snapshot(_) => panic!("a follower that is sent a snapshot is not sent entries"),
        }
    }

    /// An acknowledgement up to `matched`, which may be an old one. Whether it tells something new.
    /// `planted`: [`contract::Bug::MatchedGoesBack`].
    pub(super) fn acknowledged(&mut self, matched: Index, log_start: Index, planted: bool) -> bool {
        let (before, news) = (self.matched, matched > self.matched);
        self.matched = if planted { matched } else { self.matched.max(matched) };
        assert!(self.matched >= before, "what a follower holds durably it holds for good");
        self.next = self.next.max(self.matched.next());
        match &mut self.mode {
            Mode::Probe { .. } => self.replicate(),
            Mode::Replicate(window) => window.free_up_to(matched),
            Mode::Snapshot(transfer) => {
                let arrived = transfer.snapshot.map_or(log_start, |mark| mark.index.min(log_start));
                if self.matched >= arrived && self.lacks.is_none() {
                    self.replicate();
                }
            }
        }
        assert!(self.next > self.matched, "what is acknowledged is not sent again");
        news
    }

    fn replicate(&mut self) {
        self.mode = Mode::Replicate(Window::default());
        self.next = self.matched.next();
    }

    /// A rejection of an append behind `rejected`; `agreement` is where the logs may still agree.
    /// Whether it was a current one.
    pub(super) fn rejected(&mut self, rejected: Index, agreement: Index) -> bool {
        match self.mode {
            Mode::Replicate(_) if rejected > self.matched => self.next = self.matched.next(),
            Mode::Probe { .. } if rejected.next() == self.next && rejected > self.matched => {
                self.next = agreement.next().min(rejected).max(self.matched.next());
            }
            Mode::Probe { .. } | Mode::Replicate(_) | Mode::Snapshot(_) => return false,
        }
        assert!(self.next <= rejected.next(), "a rejection never moves a probe forward");
        self.mode = Mode::Probe { waiting: false };
        true
    }

    pub(super) fn begin_snapshot(&mut self) {
        let transfer = Transfer { snapshot: None, offset: 0, end: None, idle_heartbeats: 0 };
        self.mode = Mode::Snapshot(transfer);
    }
}
