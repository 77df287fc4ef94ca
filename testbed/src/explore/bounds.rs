//! What is explored, and within which bounds: plain data, so that a counterexample can carry it.

use contract::kv::Op;
use contract::{Bugs, Channel};
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

/// How much of everything may happen in one run. All but the epochs are counted over all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Bounds {
    /// How many nodes there are, all of them voters.
    pub nodes: u16,
    /// The highest epoch; a state in which a node has seen a higher one is out of bounds.
    pub epochs: Option<u64>,
    /// How many actions deep, at the most.
    pub depth: Option<u16>,
    /// How many clients write, each once.
    pub writes: u8,
    /// How many clients read, each once.
    pub reads: u8,
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
            epochs: None,
            depth: None,
            writes: 1,
            reads: 0,
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
/// The most clients: their histories are judged at every answer.
const CLIENTS_MAX: u8 = 8;

impl Bounds {
    /// What clients ask, one operation each: writers first. Of two operations that write, an append shows
    /// more than a put: whoever reads sees all that took effect, how often, and in which order.
    ///
    /// # Errors
    /// If the bounds exclude each other, or the protocol does not serve such operations.
    pub fn operations(&self, served: &[&str], channel: Channel) -> Result<Vec<Op>, String> {
        if !(1..=NODES_MAX).contains(&self.nodes) {
            return Err(format!("nodes: {} is not from 1 to {NODES_MAX}", self.nodes));
        }
        if self.writes.saturating_add(self.reads) > CLIENTS_MAX {
            return Err(format!("writes, reads: together they are more than {CLIENTS_MAX}"));
        }
        if self.chunk_bytes == 0 {
            return Err("chunk-bytes: must be at least 1".to_owned());
        }
        if channel == Channel::Stream && self.duplicates > 0 {
            return Err("duplicates: a stream repeats nothing".to_owned());
        }
        if channel == Channel::Datagram && self.disconnects > 0 {
            return Err("disconnects: datagrams have no connection that could break".to_owned());
        }
        let write = |number: u8| -> Result<Op, String> {
            let (key, value) = ("x".into(), number.to_string().as_str().into());
            let serves = |name: &&&str| served.contains(*name);
            match ["append", "put", "decide"].iter().find(serves) {
                Some(&"append") => Ok(Op::Append { key, value }),
                Some(&"put") => Ok(Op::Put { key, value }),
                Some(_) => Ok(Op::Decide { key, value }),
                None => Err("writes: the protocol serves none".to_owned()),
            }
        };
        let mut operations = (1..=self.writes).map(write).collect::<Result<Vec<_>, _>>()?;
        if self.reads > 0 && !served.contains(&"get") {
            return Err("reads: the protocol serves none".to_owned());
        }
        operations.extend((0..self.reads).map(|_| Op::Get { key: "x".into() }));
        Ok(operations)
    }
}
