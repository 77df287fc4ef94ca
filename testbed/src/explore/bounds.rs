//! What is explored, and within which bounds: plain data, so that a counterexample can carry it.

use std::fmt;

use contract::kv::Op;
use contract::{Bugs, Channel, Control, Membership, NodeId};
use serde::{Deserialize, Serialize};

/// A protocol, and how far it is explored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exploration {
    /// The protocol's name in the registry.
    pub protocol: String,
    /// Its options, as in a scenario.
    pub options: serde_json::Value,
    /// What is planted.
    pub bugs: Bugs,
    /// How far.
    pub bounds: Bounds,
}

/// How much of everything may happen in one run, counted over all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Bounds {
    /// How many nodes there are.
    pub nodes: u16,
    /// How many of them found the group, the first ones; all by default. The others may be added.
    pub founders: Option<u16>,
    /// The highest epoch; a state in which a node has seen a higher one is out of bounds.
    pub epochs: Option<u64>,
    /// How many actions deep, at the most.
    pub depth: Option<u16>,
    /// How many nodes clients ask, the first ones; all by default. Which is no loss where nodes are alike,
    /// apart from those that are asked.
    pub asked: Option<u16>,
    /// How many clients write, each once.
    pub writes: u8,
    /// How many clients read, each once.
    pub reads: u8,
    /// What operators ask of some node, each once.
    pub controls: Vec<Control>,
    /// How often timers fire.
    pub timers: u8,
    /// How often nodes crash, and restart from what is durable.
    pub crashes: u8,
    /// How often something else happens to a node while a write of its is under way. Where nothing may,
    /// a write still is lost if the node crashes.
    pub overtakes: u8,
    /// How often a message arrives and stays under way, to arrive once more (datagrams).
    pub duplicates: u8,
    /// How often a connection breaks (streams).
    pub disconnects: u8,
    /// How often a service's state becomes durable, so that the log before it may go.
    pub flushes: u8,
    /// How often a client sends again what was not answered.
    pub retries: u8,
    /// Whether the protocol treats its nodes alike, whatever their numbers: then they do what they do first
    /// in the order of their numbers. It is the caller who says so.
    pub symmetric: bool,
    /// Whether the service works by itself: applies, reads and installs snapshots when it gets to it.
    /// Otherwise what is asked of it is done at once.
    pub slow_service: bool,
    /// The size of one part of a snapshot, in bytes.
    pub chunk_bytes: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            nodes: 3,
            founders: None,
            epochs: None,
            asked: None,
            depth: None,
            writes: 1,
            reads: 0,
            controls: Vec::new(),
            timers: 2,
            crashes: 1,
            overtakes: 0,
            duplicates: 0,
            disconnects: 0,
            flushes: 0,
            retries: 0,
            symmetric: false,
            slow_service: false,
            chunk_bytes: 1 << 20,
        }
    }
}

/// The most nodes of an exploration.
const NODES_MAX: u16 = 9;
/// The most requests: their history is judged at every answer.
const REQUESTS_MAX: usize = 8;

/// What is asked of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Client(Op),
    Operator(Control),
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(op) => op.fmt(f),
            Self::Operator(control) => control.fmt(f),
        }
    }
}

impl Bounds {
    /// Whether they go together, for a protocol on such links.
    fn check(&self, channel: Channel) -> Result<(), String> {
        let Self { nodes, founders, asked, .. } = *self;
        if !(1..=NODES_MAX).contains(&nodes) {
            return Err(format!("nodes: {nodes} is not from 1 to {NODES_MAX}"));
        }
        let some_of_them = |some: Option<u16>| some.is_none_or(|some| (1..=nodes).contains(&some));
        if !some_of_them(founders) {
            return Err(format!("founders: not from 1 to the {nodes} nodes"));
        }
        if !some_of_them(asked) {
            return Err(format!("asked: not from 1 to the {nodes} nodes"));
        }
        if usize::from(self.writes) + usize::from(self.reads) + self.controls.len() > REQUESTS_MAX {
            return Err(format!("writes, reads, controls: together they are more than {REQUESTS_MAX}"));
        }
        if self.chunk_bytes == 0 {
            return Err("chunk: must be at least 1 byte".to_owned());
        }
        if channel == Channel::Stream && self.duplicates > 0 {
            return Err("duplicates: a stream repeats nothing".to_owned());
        }
        if channel == Channel::Datagram && self.disconnects > 0 {
            return Err("disconnects: datagrams have no connection that could break".to_owned());
        }
        Ok(())
    }

    /// Who found the group.
    pub(super) fn group(&self) -> Membership {
        Membership::of((1..=self.founders.unwrap_or(self.nodes)).map(NodeId))
    }

    /// What clients and operators ask: writers first, then readers. Of two operations that write, an append
    /// shows more than a put: whoever reads sees all that took effect, how often, and in which order.
    ///
    /// # Errors
    /// If the bounds exclude each other, or the protocol does not serve such operations.
    pub(super) fn requests(&self, served: &[&str], channel: Channel) -> Result<Vec<Request>, String> {
        self.check(channel)?;
        let write = |number: u8| -> Result<Request, String> {
            let (key, value) = ("x".into(), number.to_string().as_str().into());
            let serves = |name: &&&str| served.contains(*name);
            Ok(Request::Client(match ["append", "put", "decide"].iter().find(serves) {
                Some(&"append") => Op::Append { key, value },
                Some(&"put") => Op::Put { key, value },
                Some(_) => Op::Decide { key, value },
                None => return Err("writes: the protocol serves none".to_owned()),
            }))
        };
        let mut requests = (1..=self.writes).map(write).collect::<Result<Vec<_>, _>>()?;
        if self.reads > 0 && !served.contains(&"get") {
            return Err("reads: the protocol serves none".to_owned());
        }
        requests.extend((0..self.reads).map(|_| Request::Client(Op::Get { key: "x".into() })));
        requests.extend(self.controls.iter().cloned().map(Request::Operator));
        Ok(requests)
    }
}

/// What an operator asks, as people write it: `campaign`, `compact`, `transfer=n2`, `reconfigure=n1,n2`.
///
/// # Errors
/// If it is none of these.
pub fn control(text: &str) -> Result<Control, String> {
    let node = |name: &str| {
        let number = name.strip_prefix('n').and_then(|number| number.parse().ok()).filter(|n| *n > 0);
        number.map(NodeId).ok_or_else(|| format!("`{name}` is no node, as n1 is one"))
    };
    match text.split_once('=') {
        None if text == "campaign" => Ok(Control::Campaign),
        None if text == "compact" => Ok(Control::Compact),
        Some(("transfer", to)) => Ok(Control::Transfer { to: node(to)? }),
        Some(("reconfigure", to)) => {
            let voters = to.split(',').map(node).collect::<Result<Vec<_>, _>>()?;
            Ok(Control::Reconfigure { to: Membership::of(voters) })
        }
        _ => Err("one of campaign, compact, transfer=NODE, reconfigure=NODE,NODE".to_owned()),
    }
}

/// A protocol's options as people write them: a table as in a scenario.
///
/// # Errors
/// If the text is no table.
pub fn options(text: &str) -> Result<serde_json::Value, String> {
    let table: toml::Table =
        format!("options = {text}").parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    serde_json::to_value(&table["options"]).map_err(|error| error.to_string())
}
