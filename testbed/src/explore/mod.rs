//! Exhaustive exploration (essay to come).

mod bounds;
mod clients;
mod laws;
mod memo;
mod model;
mod network;
mod node;
mod search;
mod service;
mod state;
mod trace;

use std::net::SocketAddr;

use contract::Replica;
use stateright::Model;

pub use bounds::{Bounds, Exploration};
pub use search::{Found, Order, Outcome, Progress, Running, Search};
pub use trace::{Ending, Followed, Step, Trace};

use model::System;

/// A protocol that is ready to be explored.
pub trait Explored {
    /// Starts a search.
    fn search(self: Box<Self>, search: Search) -> Box<dyn Running>;
    /// Carries out actions by their texts.
    fn follow(&self, actions: &[String]) -> Followed;
    /// Serves stateright's Explorer at an address, for ever.
    fn serve(self: Box<Self>, addresses: &[SocketAddr]);
}

struct Ready<R: Replica>(System<R>);

impl<R: Replica> Explored for Ready<R> {
    fn search(self: Box<Self>, search: Search) -> Box<dyn Running> {
        search::start(self.0, search)
    }

    fn follow(&self, actions: &[String]) -> Followed {
        trace::follow(&self.0, actions)
    }

    fn serve(self: Box<Self>, addresses: &[SocketAddr]) {
        self.0.checker().serve(addresses);
    }
}

/// Makes a protocol ready, whose options were read.
///
/// # Errors
/// If the bounds exclude each other, or the protocol does not serve what they ask of it.
pub(crate) fn ready<R: Replica>(
    exploration: &Exploration,
    options: R::Options,
) -> Result<Box<dyn Explored>, String> {
    let operations = exploration.bounds.operations(R::OPERATIONS, R::CHANNEL)?;
    let bounds = exploration.bounds.clone();
    Ok(Box::new(Ready::<R>(System::new(options, exploration.bugs, bounds, operations))))
}

/// A protocol's options as people write them on a command line: a table as in a scenario.
///
/// # Errors
/// If the text is no table.
pub fn options(text: &str) -> Result<serde_json::Value, String> {
    let table: toml::Table =
        format!("options = {text}").parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    serde_json::to_value(&table["options"]).map_err(|error| error.to_string())
}
