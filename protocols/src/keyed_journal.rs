//! A journal in which a record replaces the earlier ones of its key, for protocols without a log.
//!
//! It is kept short by writing what counts anew, all in one write, once it holds twice as much as that.
//! The host's journal forgets whole segments, oldest first, by the log entries in them, and never the
//! newest. These records hold no entry, so a purge takes every segment but the one that holds what was
//! written anew.

use contract::{Effect, Effects, Index, Replica, Token};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyedJournal {
    /// Records in it.
    holds: usize,
    /// At how many records what counts is written anew.
    limit: usize,
    /// The latest write that is not durable.
    writing: Option<Token>,
}

impl KeyedJournal {
    /// One that holds so many records; it may come to hold `limit` before anything is written anew.
    pub(crate) fn recovered(holds: usize, limit: usize) -> Self {
        assert!(limit > 0, "a journal holds a record");
        Self { holds, limit, writing: None }
    }

    /// Writes a record. `all` is that and the last one of every other key.
    pub(crate) fn write<R: Replica>(
        &mut self,
        record: R::Record,
        all: impl FnOnce() -> Vec<R::Record>,
        fx: &mut Effects<R>,
    ) {
        if self.holds < self.limit {
            self.holds += 1;
            self.writing = Some(fx.persist(vec![record]));
            return;
        }
        let all = all();
        self.holds = all.len();
        self.limit = self.limit.max(2 * all.len());
        self.writing = Some(fx.persist(all));
        fx.push(Effect::Purge { below: Index(1) });
    }

    /// After which write all is durable that was ever written; `None`: it is already.
    pub(crate) fn writing(&self) -> Option<Token> {
        self.writing
    }

    /// A write became durable, and so did every one before it.
    pub(crate) fn on_durable(&mut self, token: Token) {
        self.writing = self.writing.filter(|writing| *writing > token);
    }
}
