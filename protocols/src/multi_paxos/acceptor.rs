//! The acceptor's part of both phases (Paxos Made Simple, §2.2). It answers whoever asks, a member or not:
//! whose answers count is the proposer's affair. What an answer promises is durable before it leaves.

use contract::{Bug, Effects, Entry, Epoch, Index, NodeId};

use super::message::Message;
use super::record::Record;
use super::{Law, MultiPaxos, Standing};

/// Accepted slots reach at most so many windows beyond what is known to be decided: who lags further has to
/// learn what was decided first, and what it keeps is bounded.
const WINDOWS_AHEAD: u64 = 2;

impl MultiPaxos {
    /// Phase 1b: the promise, and what was accepted from slot `first` on.
    pub(super) fn on_prepare(
        &mut self,
        from: NodeId,
        ballot: Epoch,
        (first, commit): (Index, Index),
        by_leave: bool,
        fx: &mut Effects<Self>,
    ) {
        if ballot < self.promised {
            return self.refuse(from, ballot, fx);
        }
        if ballot.owner() != Some(from) {
            return self.breaks(Law::BallotsAreUnique);
        }
        if ballot > self.promised {
            // A leader with a lease counts on it that nobody else is promised anything meanwhile.
            if self.cluster.options.lease_reads && self.trusts() && !by_leave {
                return;
            }
            self.promise(ballot, fx);
            // Who stands has a quorum's support: it is given the time to win.
            self.follow(None, true, fx);
        }
        let mut behind = self.slots.from(first).map(|slot| slot.entry.clone());
        let entries: Vec<Entry> = behind.by_ref().take(self.cluster.options.max_batch).collect();
        let last = behind.next().is_none();
        drop(behind);
        let (start, commit_here) = (self.slots.start().index, self.commit);
        let answer = Message::Promise { ballot, from: first, entries, last, start, commit: commit_here };
        // All that it tells of was written before the promise.
        fx.send(from, answer, self.writing);
        self.hear_of(from, commit, fx);
    }

    /// From now on nothing below `ballot` is accepted.
    fn promise(&mut self, ballot: Epoch, fx: &mut Effects<Self>) {
        assert!(ballot > self.promised, "a promise is never taken back");
        (self.promised, self.told) = (ballot, Index::ZERO);
        if !self.cluster.bugs.has(Bug::PromiseForgotten) {
            self.write(vec![Record::Promise { ballot }], fx);
        }
    }

    /// Something was decided in this ballot: a quorum has promised it, and who was overtaken by it can decide
    /// nothing any more. So this acceptor takes no part below it either. What tells of the decision is being
    /// written, and binds after a restart.
    pub(super) fn promise_with_others(&mut self, ballot: Epoch) {
        if ballot <= self.promised {
            return;
        }
        assert!(
            !matches!(self.standing, Standing::Proposer(_)),
            "a proposer is told of nothing above its ballot"
        );
        (self.promised, self.told) = (ballot, Index::ZERO);
        if let Standing::Follower { leader, .. } = &mut self.standing {
            *leader = None;
        }
    }

    fn refuse(&mut self, from: NodeId, ballot: Epoch, fx: &mut Effects<Self>) {
        assert!(ballot < self.promised, "what was promised is not refused");
        fx.send(from, Message::Nack { ballot, promised: self.promised }, None);
    }

    /// Phase 2b, of any number of slots; of none: the leader lives.
    pub(super) fn on_accept(
        &mut self,
        from: NodeId,
        ballot: Epoch,
        entries: Vec<Entry>,
        (commit, round): (Index, u64),
        fx: &mut Effects<Self>,
    ) {
        if ballot < self.promised && !self.cluster.bugs.has(Bug::AcceptBelowPromise) {
            return self.refuse(from, ballot, fx);
        }
        if ballot.owner() != Some(from) {
            return self.breaks(Law::BallotsAreUnique);
        }
        let rises = ballot > self.promised;
        if rises {
            self.promise(ballot, fx);
        }
        if ballot == self.promised {
            self.follow(Some(from), true, fx);
            self.told = commit.max(self.told);
        }
        let Some(slots) = self.accept(entries, fx) else { return };
        self.advance(fx);
        let after = if rises || !slots.is_empty() { self.writing } else { None };
        fx.send(from, Message::Accepted { ballot, slots, commit: self.commit, round }, after);
        self.hear_of(from, commit, fx);
    }

    /// Accepts what is new, and tells which slots hold what was proposed. `None`: a law was broken.
    fn accept(&mut self, entries: Vec<Entry>, fx: &mut Effects<Self>) -> Option<Vec<Index>> {
        let bound = Index(self.commit.0 + WINDOWS_AHEAD * self.cluster.options.window);
        let mut slots = Vec::with_capacity(entries.len());
        let mut records = Vec::new();
        for entry in entries {
            let index = entry.mark.index;
            match self.slots.get(index) {
                _ if index > bound => continue,
                // It left the log, and what is decided is what any later ballot proposes.
                None if index <= self.commit => {}
                Some(held) if held.chosen => {
                    if held.entry.payload != entry.payload {
                        self.breaks(Law::Agreement);
                        return None;
                    }
                }
                Some(held) if held.entry.mark.epoch == entry.mark.epoch => {
                    if held.entry.payload != entry.payload {
                        self.breaks(Law::OneValuePerBallot);
                        return None;
                    }
                }
                // Only planted: what was accepted in a higher ballot stays.
                Some(held) if held.entry.mark.epoch > entry.mark.epoch => continue,
                Some(_) | None => {
                    records.push(Record::Accepted(entry.clone()));
                    self.slots.accept(entry);
                }
            }
            slots.push(index);
        }
        if !records.is_empty() {
            self.write(records, fx);
        }
        Some(slots)
    }
}
