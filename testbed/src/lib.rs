//! The testbed: from a scenario and a seed to a verdict.
//!
//! ```text
//! Scenario + Seed → Plan → World { nodes, clients, nemesis } → History → Verdict → Report, Replay
//! ```
//!
//! Reading order: [`scenario`] (what people write), [`plan`] (what is drawn from it), [`run`](mod@run)
//! (one plan carried out), [`client`] and [`workload`], [`nemesis`], [`watch`] and [`monitor`], then
//! [`report`], [`replay`] with its [`trail`], [`shrink`](mod@shrink) and [`sweep`]. Names are bound to types in [`registry`], once.
//!
//! ```no_run
//! use seedbed_testbed::{RunOptions, Seed, run, scenario::Scenario};
//!
//! let text = "name = \"small\"\n[[workload]]\nkind = \"kv\"\n";
//! let scenario = Scenario::parse("small.toml", text, &[]).expect("it is well formed");
//! let plan = scenario.plan(Seed(7), None).expect("it can be planned");
//! println!("{}", run(&plan, RunOptions::default()).report.verdict);
//! ```

pub mod client;
mod clients;
pub mod compare;
mod engine;
pub mod explore;
mod judge;
pub mod measure;
pub mod monitor;
pub mod nemesis;
mod order;
mod panics;
pub mod plan;
mod recording;
pub mod registry;
pub mod replay;
pub mod report;
pub mod run;
pub mod scenario;
mod service;
pub mod shrink;
pub mod sweep;
pub mod trail;
mod transaction;
pub mod units;
pub mod watch;
pub mod workload;

pub use checker;
pub use contract::{Bug, Bugs, Control, Engine, EngineError, Seed, TornTail};
pub use recording::{NotRecorded, Recorded};
pub use registry::run;
pub use report::{Report, Verdict};
pub use run::{Run, RunOptions};
pub use sim::Digest;
pub use storage;
pub use transaction::record::{TransactionCounts, TransactionHistory};
