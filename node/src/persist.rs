//! The journal task: writes what replicas persist, many writes to a flush, and reports it durable.

use std::collections::VecDeque;

use contract::{Engine, Env, Index, JournalRecord, Replica, Service, Token};
use storage::journal::{Journal, SegmentId};

use crate::host::{Host, PacketOf};

/// What the journal task is asked for, in order.
pub(crate) enum Persist<R: Replica> {
    Records { token: Token, records: Vec<R::Record> },
    Purge { below: Index },
}

/// Which of a group's log indices each segment of the journal holds, oldest first.
#[derive(Default)]
pub(crate) struct Segments {
    highest: VecDeque<(SegmentId, Index)>,
}

impl Segments {
    pub(crate) fn note(&mut self, segment: SegmentId, record: &impl JournalRecord) {
        let index = record.entry().map_or(Index::ZERO, |entry| entry.mark.index);
        match self.highest.back_mut() {
            Some((last, highest)) if *last == segment => *highest = index.max(*highest),
            _ => self.highest.push_back((segment, index)),
        }
    }

    /// Forgets the segments that hold nothing from `below` on, and returns the first that stays.
    /// The newest always stays: it holds the state that was persisted again before the purge.
    fn purge(&mut self, below: Index) -> Option<SegmentId> {
        let before = self.highest.len();
        while self.highest.len() > 1 && self.highest[0].1 < below {
            self.highest.pop_front();
        }
        (self.highest.len() < before).then(|| self.highest[0].0)
    }
}

impl<R, S, E, V> Host<R, S, E, V>
where
    R: Replica,
    S: Service,
    E: Engine,
    V: Env<PacketOf<R, S>>,
{
    pub(crate) async fn persist_loop(&self, journal: Journal<E::Fs>, mut segments: Segments) {
        let group = self.inner.setup.cluster.group;
        let mut tokens = Vec::new();
        loop {
            let mut payloads = Vec::new();
            let mut written = Vec::new();
            let mut purge = None;
            let mut next = Some(self.inner.persist.pop().await);
            // Whatever piled up during the last flush shares the next one.
            while let Some(persist) = next {
                match persist {
                    Persist::Records { token, records } => {
                        payloads.extend(
                            records
                                .iter()
                                .map(|r| postcard::to_stdvec(r).expect("records encode into memory")),
                        );
                        written.extend(records);
                        tokens.push(token);
                    }
                    Persist::Purge { below } => purge = Some(below),
                }
                next = self.inner.persist.try_pop();
            }
            if !payloads.is_empty() {
                self.inner.journal.writes(group, journal.active_segment());
                let segment = match journal.append(group.0, payloads).await {
                    Ok(segment) => segment,
                    Err(error) => {
                        for token in tokens {
                            self.step(|replica, fx| replica.on_failed(token, fx));
                        }
                        return self.fail(error.into());
                    }
                };
                for record in &written {
                    segments.note(segment, record);
                }
            }
            for token in tokens.drain(..) {
                self.durable(token);
            }
            if let Some(keep) = purge.and_then(|below| segments.purge(below)) {
                let keep = self.inner.journal.needs_from(group, keep);
                if let Err(error) = journal.purge(keep).await {
                    return self.fail(error.into());
                }
            }
        }
    }
}
