//! A state of the whole system, and the actions that lead from one to the next.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use contract::{NodeId, Replica, RequestId, View};

use super::bounds::{Bounds, Request};
use super::clients::Clients;
use super::laws::{Acceptor, Broken, Log, Past};
use super::network::{Network, Printed, print};
use super::node::{Node, Output};
use super::quiet::Quiet;

/// A node, with what follows from it.
#[derive(Debug)]
pub(super) struct Site<R: Replica> {
    pub(super) node: Node<R>,
    pub(super) print: u64,
    pub(super) view: View,
    pub(super) log: Log,
    pub(super) acceptor: Acceptor,
}

impl<R: Replica> Site<R> {
    pub(super) fn new(node: Node<R>) -> Self {
        let (log, acceptor) = (Log::of(node.records()), Acceptor::of(node.records()));
        Self { print: print(&node), view: node.view(), log, acceptor, node }
    }
}

impl<R: Replica> PartialEq for Site<R> {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print && self.node == other.node
    }
}

impl<R: Replica> Hash for Site<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.print);
    }
}

/// What comes of something that happens to a node.
#[derive(Debug)]
pub(super) struct Outcome<R: Replica> {
    /// The node afterwards.
    pub(super) site: Arc<Site<R>>,
    /// Whether that is as it was, and nobody else is concerned.
    pub(super) idle: bool,
    /// Whether only the node itself can tell that anything happened.
    pub(super) is_quiet: bool,
    /// Whether its journal is another one.
    pub(super) wrote: bool,
    /// For the others; what an assertion said instead, if one failed.
    pub(super) out: Result<Output<R>, Broken>,
}

/// How much of what is bounded may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Left {
    pub(super) timers: u8,
    pub(super) crashes: u8,
    pub(super) overtakes: u8,
    pub(super) duplicates: u8,
    pub(super) disconnects: u8,
    pub(super) flushes: u8,
    pub(super) retries: u8,
}

impl Left {
    pub(super) fn of(bounds: &Bounds) -> Self {
        let Bounds { timers, crashes, overtakes, duplicates, disconnects, flushes, retries, .. } = *bounds;
        Self { timers, crashes, overtakes, duplicates, disconnects, flushes, retries }
    }
}

/// A state of the system. How deep it lies does not tell it from another.
#[derive(Clone)]
pub(super) struct State<R: Replica> {
    pub(super) sites: Vec<Arc<Site<R>>>,
    pub(super) network: Network<R::Message>,
    pub(super) clients: Printed<Clients>,
    pub(super) left: Left,
    /// How many nodes did anything yet.
    pub(super) awake: u16,
    pub(super) past: Printed<Past>,
    pub(super) broken: Option<Broken>,
    /// What nobody has noticed yet: then nothing happens elsewhere.
    pub(super) quiet: Option<Arc<Quiet<R>>>,
    pub(super) depth: u16,
}

impl<R: Replica> State<R> {
    /// Whether this is another state than `other`, apart from what is left and what was noticed.
    pub(super) fn differs(&self, other: &Self) -> bool {
        let same = |one: &Arc<Site<R>>, two: &Arc<Site<R>>| one.print == two.print;
        let sites = self.sites.iter().zip(&other.sites).all(|(one, two)| same(one, two));
        !(sites
            && self.network == other.network
            && self.clients == other.clients
            && self.past == other.past
            && self.broken == other.broken)
    }
}

impl<R: Replica> PartialEq for State<R> {
    fn eq(&self, other: &Self) -> bool {
        (self.left, self.awake, &self.quiet) == (other.left, other.awake, &other.quiet)
            && !self.differs(other)
    }
}

impl<R: Replica> Hash for State<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sites.iter().for_each(|site| site.hash(state));
        self.network.hash(state);
        self.clients.hash(state);
        self.left.hash(state);
        self.awake.hash(state);
        self.past.hash(state);
        self.broken.hash(state);
        self.quiet.hash(state);
    }
}

/// As a person reads it who looks around in the states.
impl<R: Replica> fmt::Debug for State<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(broken) = &self.broken {
            writeln!(f, "BROKEN {broken}")?;
        }
        for (number, site) in (1..).zip(&self.sites) {
            writeln!(f, "{} {}", NodeId(number), site.view)?;
            writeln!(f, "{:#?}", site.node)?;
        }
        writeln!(f, "under way {:#?}", self.network)?;
        writeln!(f, "clients {:#?}", self.clients.value)?;
        write!(f, "left {:?}", self.left)
    }
}

/// What may happen next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action<R: Replica> {
    /// A message arrives; it may stay under way, to arrive again.
    Deliver { place: usize, from: NodeId, to: NodeId, message: Printed<R::Message>, stays: bool },
    /// A node learns that the connection from a peer is no more, perhaps before it has all that was sent.
    Hangup { place: Option<usize>, from: NodeId, to: NodeId },
    /// A connection breaks.
    Disconnect { one: NodeId, other: NodeId },
    /// A timer fires.
    Fire { node: NodeId, timer: R::Timer },
    /// The oldest write is durable.
    Written { node: NodeId },
    /// The service does what it was asked for first.
    Worked { node: NodeId },
    /// The service's state becomes durable.
    Flushed { node: NodeId },
    /// A node crashes and restarts.
    Crash { node: NodeId },
    /// A client or an operator asks a node; `again` if another was asked before.
    Ask { id: RequestId, request: Request, node: NodeId, again: bool },
}

impl<R: Replica> Action<R> {
    /// Whether it is what becomes of a write that is under way.
    pub(super) fn is_of_writes(&self) -> bool {
        matches!(self, Self::Written { .. } | Self::Crash { .. })
    }

    /// To which node it happens; `None`: to a connection.
    pub(super) fn node(&self) -> Option<NodeId> {
        match self {
            Self::Deliver { to: node, .. }
            | Self::Hangup { to: node, .. }
            | Self::Fire { node, .. }
            | Self::Written { node }
            | Self::Worked { node }
            | Self::Flushed { node }
            | Self::Crash { node }
            | Self::Ask { node, .. } => Some(*node),
            Self::Disconnect { .. } => None,
        }
    }
}

impl<R: Replica> fmt::Display for Action<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver { from, to, message, stays, .. } => {
                let copy = if *stays { " a copy of" } else { "" };
                write!(f, "{to} < {from}{copy} {}", message.value)
            }
            Self::Hangup { place: Some(_), from, to } => write!(f, "{to} < {from} end of the connection"),
            Self::Hangup { place: None, from, to } => {
                write!(f, "{to} < {from} end of the connection, before all that was sent")
            }
            Self::Disconnect { one, other } => write!(f, "the connection of {one} and {other} breaks"),
            Self::Fire { node, timer } => write!(f, "{node} timer {timer:?}"),
            Self::Written { node } => write!(f, "{node} oldest write done"),
            Self::Worked { node } => write!(f, "{node} service at work"),
            Self::Flushed { node } => write!(f, "{node} service flushed"),
            Self::Crash { node } => write!(f, "{node} crashes and restarts"),
            Self::Ask { id, request, node, again } => {
                match request {
                    Request::Client(_) => write!(f, "{node} < c{} {request}", id.0)?,
                    Request::Operator(_) => write!(f, "{node} < operator {request}")?,
                }
                f.write_str(if *again { " again" } else { "" })
            }
        }
    }
}
