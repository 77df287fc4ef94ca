//! Log replication (§5.3) and commitment (§5.4.2).

use std::sync::Arc;

use contract::{Bug, Bugs, Effects, Entry, Index, Mark, NodeId, Payload, WireSize};

use super::message::Message;
use super::progress::{Mode, Progress};
use super::quorum::agreed;
use super::record::Record;
use super::{Law, Leading, Raft, Standing};

/// Sends an append; twice, if [`Bug::EverythingSentTwice`] is planted.
fn tell(to: NodeId, append: Message, bugs: Bugs, fx: &mut Effects<Raft>) {
    if bugs.has(Bug::EverythingSentTwice) {
        fx.send(to, append.clone(), None);
    }
    fx.send(to, append, None);
}

/// The leader's side.
impl Raft {
    /// Appends an entry to the leader's own log and sends it to whoever keeps up. The leader itself
    /// counts towards the quorum when its write is durable, like everyone else.
    pub(super) fn append_own(&mut self, payload: Payload, fx: &mut Effects<Self>) -> Mark {
        assert!(self.is_leader(), "only leaders append of their own accord");
        let mark = Mark { epoch: self.term, index: self.log.last().index.next() };
        let entry = Entry { mark, payload };
        let token = self.write(vec![Record::Entry(entry.clone())], fx);
        self.leading_mut().uncommitted_bytes += entry.wire_size() as u64;
        let before =
            matches!(entry.payload, Payload::Membership(_)).then(|| Arc::clone(self.log.membership()));
        self.log.append(entry, token);
        if let Some(before) = before {
            self.regroup(&before);
        }
        self.replicate(fx);
        mark
    }

    /// Sends every follower what its window admits.
    fn replicate(&mut self, fx: &mut Effects<Self>) {
        for slot in 0..self.leading().peers.len() {
            self.replicate_to(slot, fx);
        }
    }

    fn replicate_to(&mut self, slot: usize, fx: &mut Effects<Self>) {
        let start = self.log.start().index;
        let Self { cluster, term, log, commit, standing: Standing::Leader(leading), .. } = self else {
            panic!("only leaders replicate");
        };
        let (options, round) = (&cluster.options, leading.reads.round);
        let needed = leading.peers.len().div_ceil(2);
        if cluster.bugs.has(Bug::SlowFollowersForgotten) && slot >= needed {
            return;
        }
        let peer = &mut leading.peers[slot];
        if peer.next <= start {
            if peer.may_send(log.last().index, options) {
                self.bring_forward(slot, fx);
            }
            return;
        }
        while peer.may_send(log.last().index, options) {
            let prev = log.mark_at(peer.next.prev());
            let (entries, bytes) = log.batch(peer.next, options.max_append_entries, options.max_append_bytes);
            peer.sent(entries.last().map_or(prev, |entry| entry.mark).index, bytes);
            let message = Message::Append { term: *term, prev, entries, commit: *commit, round };
            tell(peer.peer, message, cluster.bugs, fx);
        }
    }

    /// What a follower lacks next has left the log.
    pub(super) fn bring_forward(&mut self, slot: usize, fx: &mut Effects<Self>) {
        let Progress { peer, next, .. } = self.leading().peers[slot];
        if self.cluster.bugs.has(Bug::SnapshotBoundaryMissed) && next == self.log.start().index {
            self.send_nothing(slot, fx);
        } else if self.log.membership().is_witness(peer) {
            self.let_skip(slot, fx);
        } else if !self.lacks_state() {
            self.begin_snapshot(slot, fx);
        }
    }

    /// Planted: [`Bug::SnapshotBoundaryMissed`]. Of entries from the one on that left the log last, none is found.
    fn send_nothing(&mut self, slot: usize, fx: &mut Effects<Self>) {
        let (term, prev, commit) = (self.term, self.log.start(), self.commit);
        let leading = self.leading_mut();
        let (peer, round) = (&mut leading.peers[slot], leading.reads.round);
        peer.sent(prev.index, 0);
        fx.send(peer.peer, Message::Append { term, prev, entries: Vec::new(), commit, round }, None);
    }

    /// A heartbeat stands behind the last entry that was sent: where it is rejected, something was
    /// lost on the way.
    pub(super) fn broadcast_heartbeat(&mut self, fx: &mut Effects<Self>) {
        let Self { cluster, term, log, commit, standing: Standing::Leader(leading), .. } = self else {
            panic!("only leaders send heartbeats");
        };
        let (start, round) = (log.start(), leading.reads.round);
        for peer in &leading.peers {
            let prev = if peer.next <= start.index { start } else { log.mark_at(peer.next.prev()) };
            let message = Message::Append { term: *term, prev, entries: Vec::new(), commit: *commit, round };
            tell(peer.peer, message, cluster.bugs, fx);
        }
    }

    pub(super) fn on_heartbeat_timer(&mut self, fx: &mut Effects<Self>) {
        if !self.is_leader() {
            return;
        }
        self.arm_heartbeat_timer(fx);
        self.begin_lease_round(fx);
        self.nudge_snapshots(fx);
        self.broadcast_heartbeat(fx);
        self.trim_witnesses(fx);
        // Of a group of one nobody answers.
        self.confirm_rounds(fx);
        self.advance_change(fx);
    }

    pub(super) fn on_ack(
        &mut self,
        from: NodeId,
        matched: Index,
        round: u64,
        lacks: Option<Index>,
        fx: &mut Effects<Self>,
    ) {
        let (last, start, planted) = (self.log.last().index, self.log.start().index, self.cluster.bugs);
        let Some((slot, leading)) = self.heard_from(from, round) else { return };
        if matched > last {
            return self.breaks(Law::LeaderAppendOnly);
        }
        let planted = planted.has(Bug::MatchedGoesBack);
        leading.peers[slot].lacks = lacks;
        if leading.peers[slot].acknowledged(matched, start, planted) {
            self.advance_commit(fx);
        }
        self.confirm_rounds(fx);
        self.hand_over_to(from, fx);
        self.send_state_to(from, fx);
        self.go_on_with(from, fx);
    }

    /// Sends a follower what it may now be sent, unless by what it said it is none any more.
    fn go_on_with(&mut self, follower: NodeId, fx: &mut Effects<Self>) {
        let Standing::Leader(leading) = &self.standing else { return };
        if let Some(slot) = leading.slot_of(follower) {
            self.replicate_to(slot, fx);
        }
    }

    pub(super) fn on_reject(
        &mut self,
        from: NodeId,
        rejected: Index,
        hint: Mark,
        round: u64,
        fx: &mut Effects<Self>,
    ) {
        // Before the start nothing is known: `next` falls to the start, which calls for a snapshot.
        let agreement = self.log.agreement(hint).map(|mark| mark.index);
        let start = self.log.start().index;
        let planted = agreement.is_none() && self.cluster.bugs.has(Bug::PurgedLogNoSnapshot);
        let Some((slot, leading)) = self.heard_from(from, round) else { return };
        let peer = &mut leading.peers[slot];
        if planted {
            // What could be sent begins behind the start.
            (peer.next, peer.mode) = (start.next(), Mode::Probe { waiting: true });
        } else {
            peer.rejected(rejected, agreement.unwrap_or(Index(start.0.saturating_sub(1))));
        }
        self.confirm_rounds(fx);
        self.go_on_with(from, fx);
    }

    /// Notes that a follower answered in the current term. `None`: the answer is nobody's business.
    pub(super) fn heard_from(&mut self, from: NodeId, round: u64) -> Option<(usize, &mut Leading)> {
        // A leader that stepped down in doubt still gets answers.
        let Standing::Leader(leading) = &mut self.standing else { return None };
        if round > leading.reads.round {
            self.broken.get_or_insert(Law::LeaderAppendOnly);
            return None;
        }
        // Who was removed may still answer.
        let slot = leading.slot_of(from)?;
        leading.peers[slot].heard(round);
        Some((slot, leading))
    }

    /// Commits what a quorum holds durably: only entries of the own term are committed by counting
    /// (§5.4.2, Fig. 8); those before them follow by log matching.
    pub(super) fn advance_commit(&mut self, fx: &mut Effects<Self>) {
        let (leading, me) = (self.leading(), self.cluster.me);
        let held = |voter| if voter == me { self.log.durable() } else { leading.peer(voter).matched };
        let membership = self.log.membership();
        let reached = if self.cluster.bugs.has(Bug::QuorumOfUnsorted) {
            // Planted: the middle of what the voters hold, in the order of the voters.
            let voters: Vec<Index> = membership.voters.iter().map(|voter| held(*voter)).collect();
            voters[voters.len() / 2]
        } else if membership.is_quorum(|voter| held(voter) > self.commit) {
            agreed(membership, held)
        } else {
            // Of those who hold an entry one completes the quorum: the others say nothing new.
            return;
        };
        let own = self.log.epoch_at(reached) == Some(self.term);
        if reached > self.commit && (own || self.cluster.bugs.has(Bug::OldTermCommitted)) {
            self.commit_to(reached, fx);
            self.advance_change(fx);
            self.begin_reads(fx);
        }
    }
}

/// The follower's side.
impl Raft {
    pub(super) fn on_append(
        &mut self,
        from: NodeId,
        prev: Mark,
        entries: Vec<Entry>,
        commit: Index,
        round: u64,
        fx: &mut Effects<Self>,
    ) {
        let planted = self.cluster.bugs.has(Bug::InstallRacesApply);
        if let Some(incoming) = self.incoming.as_ref().filter(|incoming| incoming.is_installing() && !planted)
        {
            // The log is about to begin elsewhere; the leader hears that the follower is alive.
            let message = incoming.ack(self.term, round);
            return fx.send(from, message, None);
        }
        let term = self.term;
        if self.contradicts_commit(prev, &entries) {
            return self.breaks(Law::LeaderCompleteness);
        }
        // What is committed here is in every later leader's log (§5.4.3): behind it, `prev` tells
        // nothing new, and may have left the log already.
        if prev.index > self.commit && !self.log.holds(prev) {
            let hint = self.log.agreement(prev).unwrap_or(self.log.start());
            let hint = hint.max(self.log.mark_at(self.commit));
            let message = Message::AppendReject { term, rejected: prev.index, hint, round };
            return fx.send(from, message, None);
        }
        let reached = entries.last().map_or(prev, |entry| entry.mark).index.max(self.commit);
        self.store(prev, entries, fx);
        if self.cluster.bugs.has(Bug::StaleAppendTruncates) && reached < self.log.last().index {
            self.cut_off_behind(reached, fx);
        }
        if commit.min(reached) > self.commit {
            self.commit_to(commit.min(reached), fx);
        }
        // Not up to its own last entry: what stands behind this append may be another leader's.
        let planted = self.cluster.bugs.has(Bug::AckBeyondAppend);
        let matched = if planted { self.log.last().index } else { reached };
        self.acknowledge(from, matched, round, fx);
    }

    /// Whether an append contradicts what is committed here.
    fn contradicts_commit(&self, prev: Mark, entries: &[Entry]) -> bool {
        let committed = entries.iter().map(|entry| entry.mark).take_while(|mark| mark.index <= self.commit);
        let mut marks = std::iter::once(prev).chain(committed);
        prev.index <= self.commit
            && marks.any(|mark| self.log.epoch_at(mark.index).is_some_and(|epoch| epoch != mark.epoch))
    }

    /// Stores what the log lacks. Entries that it holds stay, and so does what follows them: the
    /// append may be an old one that later ones have overtaken. Only a conflict truncates.
    fn store(&mut self, prev: Mark, mut entries: Vec<Entry>, fx: &mut Effects<Self>) {
        let lacks = |entry: &Entry| entry.mark.index > self.commit && !self.log.holds(entry.mark);
        let Some(first) = entries.iter().position(lacks) else { return };
        assert_eq!(entries[0].mark.index, prev.index.next(), "an append has no holes");
        entries.drain(..first);
        let before = entries[0].mark.index.prev();
        assert!(before >= self.commit, "what is committed is never replaced");
        if before < self.log.last().index {
            self.log.truncate(before);
        }
        let token = self.write(entries.iter().cloned().map(Record::Entry).collect(), fx);
        for entry in entries {
            assert!(entry.mark.epoch <= self.term, "no entry is of a term that has not begun");
            self.log.append(entry, token);
        }
    }

    /// Planted: [`Bug::StaleAppendTruncates`]. The last entry that stays is written again, which
    /// cuts the journal's log off behind it.
    fn cut_off_behind(&mut self, last: Index, fx: &mut Effects<Self>) {
        let kept = self.log.between(self.log.start().index.max(Index(last.0.saturating_sub(1))), last);
        self.log.truncate(last);
        self.write(kept.into_iter().map(Record::Entry).collect(), fx);
    }

    /// Acknowledges the log up to `matched`, once that and the term are durable.
    pub(super) fn acknowledge(&mut self, to: NodeId, matched: Index, round: u64, fx: &mut Effects<Self>) {
        assert!(matched <= self.log.last().index, "only what is held is acknowledged");
        self.save(fx);
        let planted = self.cluster.bugs.has(Bug::AckBeforeDurable);
        let after = if planted { None } else { self.log.write_of(matched).max(self.saving) };
        let lacks = self.lacks_state().then_some(self.log.start().index);
        fx.send(to, Message::AppendAck { term: self.term, matched, round, lacks }, after);
    }
}

impl Raft {
    /// Commits entries and hands them to the service.
    pub(super) fn commit_to(&mut self, index: Index, fx: &mut Effects<Self>) {
        assert!(index > self.commit, "a commit index never falls");
        assert!(index <= self.log.last().index, "only entries that exist are committed");
        let planted = self.cluster.bugs.has(Bug::InstallRacesApply);
        assert!(!self.is_installing() || planted, "the service's state is being replaced");
        if let Standing::Leader(leading) = &mut self.standing {
            leading.uncommitted_bytes -= self.log.bytes_between(self.commit, index);
        }
        self.commit = index;
        self.serve(fx);
    }
}
