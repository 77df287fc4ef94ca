//! Exhaustive exploration: every state that a protocol can come to within bounds, with the replicas
//! themselves, in the order in which anything can happen to them.
//!
//! # The model
//!
//! [`Replica`]s are pure state machines, so that a whole system is a value (`state.rs`): per node its replica
//! and what a host keeps for it (`node.rs`), what is under way between nodes (`network.rs`), what clients
//! have asked and seen (`clients.rs`), and how much of what is bounded may still happen ([`Bounds`]). An
//! action (`actions.rs`) leads from one such value to the next: a message arrives, a timer fires, a write
//! becomes durable, a node crashes and restarts from what is, a client or an operator asks. stateright
//! searches the graph that this makes (`search.rs`); `model.rs` is the adapter.
//!
//! *Time* is not modelled: a timer that is armed may fire at any moment, and of two timers either first. So
//! what holds only because clocks run alike, as a read under a lease does, is found broken. Disks are slow and
//! forgetful, and otherwise as good as their word: nothing is refused, torn or corrupt, and a purge takes all
//! that it may. The service is the one of the simulation on a store that is a value (`service.rs`).
//!
//! *Laws* (`laws.rs`) are those that monitors watch, and linearizability of what the clients saw. They are
//! looked at in each transition. What they have to know of the past is part of the state; a state in which
//! one was broken leads nowhere.
//!
//! # What is left out, and why nothing is lost
//!
//! Each of these leaves out states or actions from which nothing can follow that does not follow without
//! them. All laws are about what must never happen, so that a state is as good as another that can do all
//! that it can (*dominated* by that one).
//!
//! 1. *No datagram is ever lost.* A lost one is one that never arrives. The state with it still under way
//!    dominates the one without it.
//! 2. *A datagram that changes nothing does not arrive*: it stays under way, by the same argument.
//! 3. *A node that crashes is up again at once.* To be down is to have nothing happen to it. What would have
//!    reached it then arrives later or never, and of streams it is lost at the crash.
//! 4. *Of the writes that a crash interrupts none survives.* One that does was durable before the crash, and
//!    what then left because of it need never arrive.
//! 5. *A client is as near as can be*: its request is at the server when it is invoked, and the answer back
//!    when it is given. A longer way would only widen the time in which an operation may take effect. A request
//!    that was refused is as if it had not been made.
//! 6. *Clients that do the same begin in the order of their numbers*: their names and values mean nothing to
//!    the protocol.
//! 7. *What changes nothing but what is left of the bounds leads nowhere*: what it leads to has less to come.
//! 8. *A write that nothing may overtake is settled first.* Where [`Bounds::overtakes`] is used up a node that
//!    waits for a write can only go on with it or crash. Either is independent of all that others do: they
//!    can neither hinder it nor be hindered, since to send is only to add to what is under way. (A *persistent
//!    set*, Godefroid.) So it need not be tried after what others do as well. It may take an action more to
//!    come to a violation, for each write that need not have been settled.
//! 9. *What nobody else notices happens only where it makes a difference*: `quiet.rs` has the argument.
//!
//! [`Bounds::symmetric`] is not among these: that nodes are alike is the caller's word. It goes without 9.
//!
//! # What it costs
//!
//! Of a million states of a system most differ in how a few thousand states of nodes are put together. So
//! what comes of an input to a node is computed once and looked up (`memo.rs`), nodes are shared, and each part
//! of a state is hashed when it is made. States that were seen are remembered by a 64-bit hash alone: in a
//! search of 10⁸ states one is taken for another, and missed, with a probability of about 3 in 10 000.

mod actions;
mod bounds;
mod clients;
mod happen;
mod laws;
mod memo;
mod model;
mod network;
mod node;
mod quiet;
mod search;
mod service;
mod state;
mod trace;

use std::net::SocketAddr;

use contract::Replica;
use stateright::Model;

pub use bounds::{Bounds, Exploration, control, options};
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
    let requests = exploration.bounds.requests(R::OPERATIONS, R::CHANNEL)?;
    let bounds = exploration.bounds.clone();
    Ok(Box::new(Ready::<R>(System::new(options, exploration.bugs, bounds, requests))))
}
