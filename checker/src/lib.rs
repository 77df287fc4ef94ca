//! Judges of histories: can what the clients of a service saw be explained by a service that takes one
//! operation at a time?
//!
//! A history is *linearizable* (Herlihy & Wing, 1990) if each operation can be given one moment between
//! its invocation and its return at which it takes effect, so that every answer is right. An operation
//! whose outcome nobody knows may take effect at any moment after its invocation, or never.
//!
//! ```
//! use contract::kv::{Op, Ret};
//! use contract::{ClientId, History, Outcome, Time};
//! use seedbed_checker::{Budget, Verdict, judge_kv};
//!
//! let (alice, bob) = (ClientId(1), ClientId(2));
//! let mut history = History::default();
//! let put = history.invoke(Time(1), alice, Op::Put { key: "k".into(), value: "v".into() });
//! history.complete(Time(1_000_000), alice, put, Outcome::Ok(Ret::Done));
//! let get = history.invoke(Time(2_000_000), bob, Op::Get { key: "k".into() });
//! history.complete(Time(3_000_000), bob, get, Outcome::Ok(Ret::Value(None)));
//!
//! let Verdict::Violation(violation) = judge_kv(&history, Budget::default())? else { panic!() };
//! assert_eq!(
//!     violation.to_string(),
//!     "get(k) by c2 returned nothing at 0.003s, \
//!      but put(k, \"v\") had returned at 0.001s and nothing deleted k after it"
//! );
//! # Ok::<(), seedbed_checker::Malformed>(())
//! ```
//!
//! Reading order: [`spec`] (what is checked against) and [`models`]; [`parts`] (what of a history is
//! judged together); [`linearizability`] (the search); [`judge`](mod@judge) (the front door, and the budget that all
//! parts share); [`explain`]; [`stream`] (the same while a run goes on, in bounded memory);
//! [`weak`] (what services promise that do not promise that much). Beside them stand [`isolation`], which judges
//! transactions, [`witness`](mod@witness), which checks a known order, [`formats`], which reads histories that
//! others recorded, and [`generate`], which makes histories to test checkers with.
//!
//! A verdict is a function of the history and the budget alone, and it is never [`Verdict::Ok`] when the
//! checker gave up.

mod cache;
mod carry;
mod cell;
pub mod division;
pub mod explain;
pub mod formats;
pub mod generate;
pub mod isolation;
pub mod judge;
mod layers;
pub mod linearizability;
pub mod models;
mod nearly;
mod origins;
pub mod parts;
mod relax;
mod scene;
pub mod spec;
pub mod stream;
mod twins;
mod values;
pub mod weak;
mod windows;
pub mod witness;
mod zones;

pub use explain::Violation;
pub use judge::{Budget, Exhausted, Options, Resource, Verdict, judge, judge_kv, judge_with};
pub use parts::Malformed;
pub use spec::{Content, FromSequential, Keys, Reason, RegisterOp, Spec};
pub use stream::Stream;
pub use weak::{Consistency, WeakError, judge_weak};
pub use witness::witness;
