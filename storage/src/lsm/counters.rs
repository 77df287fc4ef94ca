//! What an engine counts, shared by all its parts.

use std::cell::Cell;

use contract::EngineStats;

#[derive(Debug, Default)]
pub(super) struct Counters(Cell<EngineStats>);

impl Counters {
    pub(super) fn count(&self, change: impl FnOnce(&mut EngineStats)) {
        let mut stats = self.0.get();
        change(&mut stats);
        self.0.set(stats);
    }

    pub(super) fn stats(&self) -> EngineStats {
        self.0.get()
    }
}
