//! What a leader knows of one learner: a follower, or an observer.
//!
//! A learner goes through the steps of the protocol once per connection. From the moment at which it
//! was sent the leader's history it is sent every proposal too (an observer: every commit), whether it
//! has acknowledged that history or not: the stream keeps the order, so that nothing is between.

use contract::{Epoch, Index, Mark};

use super::message::Summary;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Learner {
    /// The last epoch that it had accepted when it came.
    pub(super) accepted: Epoch,
    pub(super) step: Step,
    /// It does not vote: it is told of what is committed, and of nothing else.
    pub(super) observes: bool,
    /// The end of what it was sent of the history.
    pub(super) sent: Index,
    /// Up to where it durably holds the history; counts once it is synced.
    pub(super) acked: Index,
    /// The latest round of reads that it has echoed.
    pub(super) round: u64,
    /// Ticks since it was last heard.
    pub(super) silent: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// It came, and told which epoch it accepted last.
    Connected,
    /// It accepted the leader's epoch.
    Promised(Promise),
    /// What it lacks has left the log: it is sent a snapshot.
    Receiving(Transfer),
    /// It was sent the history up to this mark, and NEWLEADER behind it.
    Synchronising(Mark),
    /// It acknowledged that.
    Synced,
}

/// What a learner said when it accepted the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Promise {
    pub(super) summary: Summary,
    /// It had not accepted it before: the promise counts.
    pub(super) fresh: bool,
    pub(super) staged: Option<(Mark, u64)>,
}

/// A snapshot on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Transfer {
    /// Which; `None` until its first part was read.
    pub(super) snapshot: Option<Mark>,
    /// The byte from which on a part is read.
    pub(super) offset: u64,
    /// The last part was sent.
    pub(super) complete: bool,
}

impl Learner {
    pub(super) fn new(accepted: Epoch, observes: bool) -> Self {
        Self {
            accepted,
            step: Step::Connected,
            observes,
            sent: Index::ZERO,
            acked: Index::ZERO,
            round: 0,
            silent: 0,
        }
    }

    /// Whether it holds, or is being sent, the whole history, and so is sent what comes behind it.
    pub(super) fn is_forwarded(&self) -> bool {
        matches!(self.step, Step::Synchronising(_) | Step::Synced)
    }

    pub(super) fn is_synced(&self) -> bool {
        self.step == Step::Synced
    }

    /// Whether it made a promise that counts.
    pub(super) fn promised(&self) -> bool {
        matches!(self.step, Step::Promised(Promise { fresh: true, .. }))
    }
}
