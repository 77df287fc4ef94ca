//! Linearizable reads without a place in the log: `sync` before a read.
//!
//! A leader that a quorum has left may not know that it was replaced, so it may not trust its state
//! alone. It notes its commit index, pings its followers, and serves the read at that index once a
//! quorum has answered a ping sent *after* the read arrived: then none of that quorum had promised
//! itself to a later leader before. Reads share such rounds.
//!
//! A learner that serves reads asks its leader, which answers with the index in the same way. What is
//! committed up to there stands before the answer in the stream.

use std::collections::VecDeque;

use contract::{Effect, Effects, Index, NodeId, Rejection, RequestId};

use super::message::Message;
use super::{Law, Phase, Standing, Zab};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reads {
    /// The latest round that began.
    pub(super) round: u64,
    /// Reads whose round has begun, in order of rounds.
    begun: VecDeque<Read>,
    /// Readers that join the next round.
    queued: Vec<Reader>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Read {
    reader: Reader,
    round: u64,
    /// The commit index when its round began.
    index: Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reader {
    Client(RequestId),
    /// A learner, by its number for the read.
    Learner(NodeId, u64),
}

impl Reads {
    /// A learner's questions so far get no answer.
    pub(super) fn forget(&mut self, learner: NodeId) {
        let is_its = |reader: &Reader| matches!(reader, Reader::Learner(node, _) if *node == learner);
        self.begun.retain(|read| !is_its(&read.reader));
        self.queued.retain(|reader| !is_its(reader));
    }

    /// The clients whose reads were not served, in order of arrival.
    pub(super) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        let readers = self.begun.into_iter().map(|read| read.reader).chain(self.queued);
        readers.filter_map(|reader| match reader {
            Reader::Client(request) => Some(request),
            Reader::Learner(..) => None,
        })
    }
}

impl Zab {
    pub(super) fn serve_read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        if self.serves_as_leader() {
            return self.queue_read(Reader::Client(request), fx);
        }
        let leader = self.serving_leader();
        let shared = self.cluster.options.follower_reads;
        match &mut self.standing {
            Standing::Following(following) if shared && following.phase == Phase::Broadcast => {
                following.last_sync += 1;
                following.syncs.push_back((following.last_sync, request));
                fx.send(following.leader, Message::Sync { number: following.last_sync }, None);
            }
            _ => fx.push(Effect::Reject { request, reason: Rejection::NotLeader { leader } }),
        }
    }

    /// A learner's question. Before the leader is established it waits: the learner has no leader yet,
    /// and asks nothing.
    pub(super) fn on_sync(&mut self, from: NodeId, number: u64, fx: &mut Effects<Self>) {
        if !self.serves_as_leader() {
            return self.breaks(Law::Integrity);
        }
        self.queue_read(Reader::Learner(from, number), fx);
    }

    fn queue_read(&mut self, reader: Reader, fx: &mut Effects<Self>) {
        self.leading_mut().reads.queued.push(reader);
        self.begin_reads(fx);
    }

    /// Begins a round for the reads that wait for one, unless one is under way.
    fn begin_reads(&mut self, fx: &mut Effects<Self>) {
        let index = self.commit;
        let reads = &mut self.leading_mut().reads;
        if reads.queued.is_empty() || !reads.begun.is_empty() {
            return;
        }
        reads.round += 1;
        let round = reads.round;
        reads.begun.extend(reads.queued.drain(..).map(|reader| Read { reader, round, index }));
        self.ping(fx);
        self.finish_reads(fx);
    }

    /// Serves the reads whose rounds a quorum has echoed.
    pub(super) fn finish_reads(&mut self, fx: &mut Effects<Self>) {
        while let Some(round) = self.leading().reads.begun.front().map(|read| read.round) {
            if !self.has_quorum(|learner| learner.is_synced() && learner.round >= round) {
                return;
            }
            let read = self.leading_mut().reads.begun.pop_front().expect("it was there just now");
            assert!(read.index <= self.commit, "a commit index never falls");
            match read.reader {
                Reader::Client(request) => fx.push(Effect::ReadAt { request, index: read.index }),
                Reader::Learner(node, number) => {
                    // It may have gone meanwhile, and asks again elsewhere.
                    if self.leading().learners.get(&node).is_some_and(super::Learner::is_synced) {
                        fx.send(node, Message::Synced { number, index: read.index }, None);
                    }
                }
            }
        }
        self.begin_reads(fx);
    }

    pub(super) fn ping(&self, fx: &mut Effects<Self>) {
        let round = self.leading().reads.round;
        for (node, learner) in &self.leading().learners {
            if learner.step != super::learner::Step::Connected {
                fx.send(*node, Message::Ping { round }, None);
            }
        }
    }

    pub(super) fn on_pong(&mut self, from: NodeId, round: u64, fx: &mut Effects<Self>) {
        if round > self.leading().reads.round {
            return self.breaks(Law::Integrity);
        }
        let learner = self.learner_mut(from);
        learner.round = round.max(learner.round);
        if self.serves_as_leader() {
            self.finish_reads(fx);
        }
    }

    /// The leader's word on a read: what it may see has come before it.
    pub(super) fn on_synced(&mut self, number: u64, index: Index, fx: &mut Effects<Self>) {
        let commit = self.commit;
        let following = self.following_mut();
        match following.syncs.pop_front() {
            Some((asked, request)) if asked == number && index <= commit => {
                fx.push(Effect::ReadAt { request, index });
            }
            _ => self.breaks(Law::Integrity),
        }
    }
}
