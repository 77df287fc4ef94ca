//! Whether the histories of transactions keep to an isolation level.
//!
//! After Adya ("Weak consistency: a generalized theory and optimistic implementations for distributed
//! transactions", 1999) and Kingsbury & Alvaro ("Elle: inferring isolation anomalies from experimental
//! observations", VLDB 2020). What transactions read tells in which order versions were installed, and so which
//! transaction depends on which:
//!
//! - *ww*: one installed a version, the other the next version of the same key;
//! - *wr*: one installed the version that the other read;
//! - *rw*: one read a version, the other installed the next one;
//! - *process*, *real-time*: one returned before the other began, in the same process or anywhere.
//!
//! A level forbids cycles of certain kinds ([`AnomalyKind`]), and some observations that need no cycle. Nothing
//! here guesses: each dependency is certain, so that what is found is there. What nobody observed may hide
//! more, so a history that passes was not shown to break the level, no more.
//!
//! Histories are over *lists* that grow by appends ([`lists`]), where each read shows the whole order of versions
//! up to it; or over *registers* ([`registers`]), where the order must be inferred and less is known of it.
//!
//! ```
//! use seedbed_checker::isolation::{AnomalyKind, Level, Outcome, Transaction, lists};
//! use lists::Action::{Append, Read};
//!
//! let transaction = |process, actions| Transaction {
//!     process, invoked: 0, returned: Some(9), outcome: Outcome::Committed, actions,
//! };
//! // Each reads what the other is about to change.
//! let history = [
//!     transaction(1, vec![Read { key: 1, values: vec![] }, Append { key: 2, value: 10 }]),
//!     transaction(2, vec![Read { key: 2, values: vec![] }, Append { key: 1, value: 20 }]),
//!     transaction(3, vec![Read { key: 1, values: vec![20] }, Read { key: 2, values: vec![10] }]),
//! ];
//! let report = lists::judge(&history)?;
//! assert_eq!(report.anomalies[0].kind, AnomalyKind::G2Item, "write skew");
//! assert!(report.holds(Level::SnapshotIsolation) && !report.holds(Level::Serializable));
//! assert_eq!(
//!     report.anomalies[0].sentence,
//!     "T0 read 1 before T1 appended 20 to it; T1 read 2 before T0 appended 10 to it"
//! );
//! # Ok::<(), seedbed_checker::isolation::Malformed>(())
//! ```
//!
//! Histories that others recorded are read by [`formats::transactions`](mod@crate::formats::transactions), and
//! judged by the model of their actions:
//!
//! ```
//! use seedbed_checker::formats::{Recording, edn};
//! use seedbed_checker::isolation::{Level, lists};
//! use seedbed_checker::models::TransactionModel;
//!
//! let recording = edn::read("
//!     {:type :invoke, :process 0, :f :txn, :value [[:append 3 1]], :time 10}
//!     {:type :ok,     :process 0, :f :txn, :value [[:append 3 1]], :time 20}
//!     {:type :invoke, :process 1, :f :txn, :value [[:r 3 nil]],    :time 30}
//!     {:type :ok,     :process 1, :f :txn, :value [[:r 3 []]],     :time 40}
//! ")?;
//! let model = TransactionModel::named("list-append").expect("`seedbed list models` has it");
//! let judged = model.judge(&recording)?;
//! let stale = judged.report.first_against(Level::StrictSerializable).expect("the read is stale");
//! assert_eq!(stale.to_string(), "G-single-realtime: T0 had returned when T1 was invoked; \
//!     T1 read 3 before T0 appended 1 to it");
//! assert_eq!(judged.lines[1], 4, "T1 was invoked there");
//! assert!(judged.report.strongest().contains(&Level::Serializable));
//!
//! // The other way round.
//! let transactions = recording.transactions::<lists::Action>()?.transactions;
//! assert_eq!(edn::read(&edn::write(&Recording::of_transactions(&transactions)?))?.transactions()?.transactions,
//!     transactions);
//! # Ok::<(), seedbed_checker::formats::FormatError>(())
//! ```

mod anomaly;
mod cycles;
mod findings;
mod graph;
mod history;
pub mod lists;
mod order;
pub mod registers;

pub use anomaly::{Anomaly, AnomalyKind, Level, Order, Report};
pub use history::{Malformed, Outcome, Transaction};
