//! What is on its way to each follower, and need not be sent again.
//!
//! The crate answers every reply that is behind its log with all that lacks, whatever is on its way already: where
//! entries come faster than answers it sends each many times, and where messages are repeated the repetitions
//! multiply. It leaves it to its user to do better ([`noraft::Action::SendMessage`]). Here: what was sent is not
//! sent again before a heartbeat's time has passed.

use std::collections::BTreeMap;

use contract::{Effect, Effects, Mark, NodeId};
use noraft::LogEntries;

use super::{Noraft, Timer, convert};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    /// Up to where each follower was sent the log, without a gap.
    sent: BTreeMap<NodeId, Mark>,
    /// Behind what each was last sent nothing, to find out where its log diverges.
    probed: BTreeMap<NodeId, Mark>,
    /// The timer is armed that forgets all this.
    armed: bool,
}

impl Noraft {
    /// A new entry goes to everyone.
    pub(super) fn note_broadcast(&mut self, entries: &LogEntries) {
        let (prev, last) = (convert::mark(entries.prev_position()), convert::mark(entries.last_position()));
        for sent in self.flight.sent.values_mut().filter(|sent| **sent == prev) {
            *sent = last;
        }
    }

    /// What of `entries`, which `to` lacks, is not on its way yet, and no more than fits into one append.
    pub(super) fn trim(&mut self, to: NodeId, mut entries: LogEntries) -> Option<LogEntries> {
        let most = self.cluster.options.max_append_entries;
        if !self.cluster.options.trim_in_flight {
            entries.truncate(most);
            return Some(entries);
        }
        let prev = convert::mark(entries.prev_position());
        if entries.is_empty() {
            return (self.flight.probed.insert(to, prev) != Some(prev)).then_some(entries);
        }
        let sent = self.flight.sent.get(&to).filter(|sent| sent.index > prev.index);
        if let Some(rest) = sent.and_then(|sent| entries.since(convert::position(*sent))) {
            entries = rest;
        }
        entries.truncate(most);
        self.flight.sent.insert(to, convert::mark(entries.last_position()));
        (!entries.is_empty()).then_some(entries)
    }

    /// Arms the timer by which a leader makes up for what was lost.
    pub(super) fn watch_flight(&mut self, fx: &mut Effects<Self>) {
        if self.is_leader() && self.cluster.options.trim_in_flight && !self.flight.armed {
            self.flight.armed = true;
            fx.push(Effect::SetTimer { timer: Timer::Flight, within: self.timeout() });
        }
    }

    pub(super) fn forget_flight(&mut self, fx: &mut Effects<Self>) {
        self.flight = Flight::default();
        self.watch_flight(fx);
    }
}
