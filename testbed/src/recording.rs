//! A run's history as a file of its own holds it: of operations, or of transactions.

use checker::formats::Recording;

use crate::plan::Plan;
use crate::run::Run;
use crate::workload::transactions;

/// What a history is about. A file holds one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Operations on a key-value store.
    Operations,
    /// Transactions over lists.
    Lists,
    /// Transactions over registers.
    Registers,
}

/// Why a run has no history that a file could hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRecorded {
    /// What its transactions do is judged while they run.
    #[error(
        "no workload of this scenario leaves a history: those of list-append, rw-register, write-skew and long-fork do"
    )]
    Nothing,
    /// Two of its workloads leave histories of different kinds.
    #[error(
        "this scenario has transactions over lists and over registers, and a history holds one of the two: leave a workload out"
    )]
    TwoKinds,
}

impl Plan {
    /// What a history of its run is about.
    ///
    /// # Errors
    /// If there is nothing to record, or two kinds.
    pub fn recorded(&self) -> Result<Recorded, NotRecorded> {
        if self.transactions.is_none() {
            return Ok(Recorded::Operations);
        }
        let kinds = self.workloads.iter().filter_map(|workload| transactions::kind(&workload.kind)?.1);
        let one = kinds.clone().next().ok_or(NotRecorded::Nothing)?;
        if kinds.into_iter().all(|kind| kind == one) { Ok(one) } else { Err(NotRecorded::TwoKinds) }
    }
}

impl Run {
    /// What [`Plan::recorded`] says of its plan.
    pub fn recording(&self, of: Recorded) -> Recording {
        let recording = match of {
            Recorded::Operations => Ok(Recording::of_kv(&self.history)),
            Recorded::Lists => Recording::of_transactions(&self.transactions.lists),
            Recorded::Registers => Recording::of_transactions(&self.transactions.registers),
        };
        recording.expect("a client runs one transaction after the other")
    }
}
