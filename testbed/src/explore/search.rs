//! The search: stateright's, told when to stop.

use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use contract::Replica;
use serde::Serialize;
use stateright::{Checker, HasDiscoveries, Model};

use super::laws::Law;
use super::model::System;
use super::trace::{Ending, Followed, Step, follow, shortened, texts};

/// In which order states are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Those that are nearest to the start first: what is found is found on a shortest way.
    Breadth,
    /// Along each way to its end: takes the least memory.
    Depth,
}

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// In which order. With more than one thread it is kept only roughly.
    pub order: Order,
    /// How many threads share the work. They are the caller's to give.
    pub threads: usize,
}

/// How far a search is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// States that were come to, over all ways.
    pub states: u64,
    /// Of these, different ones.
    pub unique: u64,
    /// Actions on the longest way that was gone.
    pub depth: u64,
}

/// A law that was broken, and the way there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The law.
    pub law: String,
    /// How.
    pub message: String,
    /// What happens.
    pub steps: Vec<Step>,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// How far it came.
    pub progress: Progress,
    /// Whether all states within the bounds were looked at.
    pub complete: bool,
    /// The laws that were looked at.
    pub laws: Vec<&'static str>,
    /// Situations that came about.
    pub reached: Vec<&'static str>,
    /// Situations that did not.
    pub missed: Vec<&'static str>,
    /// A law that does not hold.
    pub found: Option<Found>,
}

/// A search that goes on by itself.
pub trait Running {
    /// How far it is.
    fn progress(&self) -> Progress;
    /// Whether it is over.
    fn is_done(&self) -> bool;
    /// Lets it come to an end without looking further.
    fn stop(&self);
    /// Waits for the end.
    fn finish(self: Box<Self>) -> Outcome;
}

/// Starts one of stateright's checkers. It ends at the first law that it sees broken.
pub(super) fn start<R: Replica>(system: System<R>, search: Search) -> Box<dyn Running> {
    let builder = system.checker().threads(search.threads).finish_when(HasDiscoveries::AnyFailures);
    match search.order {
        Order::Breadth => Box::new(Checking { checker: builder.spawn_bfs(), search, system: PhantomData }),
        Order::Depth => Box::new(Checking { checker: builder.spawn_dfs(), search, system: PhantomData }),
    }
}

struct Checking<R: Replica, C> {
    checker: C,
    search: Search,
    system: PhantomData<R>,
}

impl<R: Replica, C: Checker<System<R>>> Running for Checking<R, C> {
    fn progress(&self) -> Progress {
        Progress {
            states: self.checker.state_count() as u64,
            unique: self.checker.unique_state_count() as u64,
            // It counts states, not the actions between them.
            depth: (self.checker.max_depth() as u64).saturating_sub(1),
        }
    }

    fn is_done(&self) -> bool {
        self.checker.is_done()
    }

    fn stop(&self) {
        self.checker.model().stop.store(true, Ordering::Relaxed);
    }

    fn finish(self: Box<Self>) -> Outcome {
        let search = self.search;
        let checker = self.checker.join();
        let system = checker.model();
        let stopped = system.stop.swap(false, Ordering::Relaxed);
        let paths = Law::ALL.iter().filter_map(|law| checker.discovery(law.name()));
        let found = paths.map(|path| path.into_actions()).min_by_key(Vec::len).map(|actions| {
            let mut actions = texts(system, &actions);
            if search != (Search { order: Order::Breadth, threads: 1 }) {
                actions = shortened(system, actions);
            }
            let Followed { steps, ending } = follow(system, &actions);
            match ending {
                Ending::Broken { law, message } => Found { law, message, steps },
                ending @ (Ending::Holds | Ending::Impossible { .. }) => {
                    panic!("a replica is no function of what it is told: {ending:?}")
                }
            }
        });
        let (reached, missed) = system.situations();
        Outcome {
            progress: Progress {
                states: checker.state_count() as u64,
                unique: checker.unique_state_count() as u64,
                depth: (checker.max_depth() as u64).saturating_sub(1),
            },
            complete: !stopped && found.is_none(),
            laws: Law::ALL.map(Law::name).to_vec(),
            reached,
            missed,
            found,
        }
    }
}
