//! Links: how long a message takes, and what may become of it.

use std::fmt;
use std::time::Duration;

use contract::{Address, NodeId};
use serde::{Deserialize, Serialize};

use super::Latency;

/// One directed link. Shares are 0 to 1, of the messages that are sent over it; each message's fate is
/// drawn on its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetConfig {
    /// One-way delay of a message.
    pub latency: Latency,
    /// The share of messages that are lost, 0 to 1.
    pub loss: f64,
    /// The share of datagrams that arrive twice, each copy with a delay of its own.
    pub duplicate: f64,
    /// The share of messages that a checksum finds damaged on arrival: they are dropped and counted.
    pub corrupt: f64,
    /// The share of messages that are held up by up to [`NetConfig::reorder_by`], so that later ones
    /// overtake them.
    pub reorder: f64,
    /// The most that a message is held up; evenly drawn.
    pub reorder_by: Duration,
    /// How fast bytes leave, if that is limited.
    pub bandwidth: Option<Bandwidth>,
    /// Bad spells, if there are any.
    pub weather: Option<Weather>,
}

impl Default for NetConfig {
    fn default() -> Self {
        let latency = Latency::Constant(Duration::ZERO);
        Self { latency, ..Self::with_latency(latency) }
    }
}

impl NetConfig {
    /// A link that delays, and does nothing else.
    pub const fn with_latency(latency: Latency) -> Self {
        Self {
            latency,
            loss: 0.0,
            duplicate: 0.0,
            corrupt: 0.0,
            reorder: 0.0,
            reorder_by: Duration::ZERO,
            bandwidth: None,
            weather: None,
        }
    }
}

/// A link's transmitter: messages leave one after the other, and wait in a queue before it. As the
/// queue fills, latency grows; what finds it full is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bandwidth {
    /// How many bytes leave in a second.
    pub bytes_per_second: u64,
    /// How many bytes may wait.
    pub queue_bytes: u64,
}

/// Bad spells of a link. Time is cut into spells of equal length (whole milliseconds), and whether one
/// is bad is a function of the link and the spell alone: all protocols meet the same weather.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Weather {
    /// How long a spell lasts, in whole milliseconds.
    pub spell: Duration,
    /// The share of spells that are bad, 0 to 1.
    pub bad: f64,
    /// The share of messages that are lost in a bad spell, beside the link's own loss.
    pub loss: f64,
    /// By how much a bad spell multiplies latency.
    pub slowdown: f64,
}

/// A set of directed links: all from one of `from` to one of `to`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Links {
    /// The senders; none listed: everyone.
    pub from: Vec<Address>,
    /// The receivers; none listed: everyone.
    pub to: Vec<Address>,
    /// And the links back.
    pub both_ways: bool,
}

impl Links {
    /// Every link.
    pub fn all() -> Self {
        Self::default()
    }

    /// From one to the other, and not back.
    pub fn one_way(from: impl Into<Address>, to: impl Into<Address>) -> Self {
        Self { from: vec![from.into()], to: vec![to.into()], both_ways: false }
    }

    /// All links into a node.
    pub fn into(node: NodeId) -> Self {
        Self { to: vec![node.into()], ..Self::default() }
    }

    /// All links out of a node.
    pub fn out_of(node: NodeId) -> Self {
        Self { from: vec![node.into()], ..Self::default() }
    }

    /// All links into and out of a node.
    pub fn at(node: NodeId) -> Self {
        Self { from: vec![node.into()], both_ways: true, ..Self::default() }
    }

    /// Whether the link from one to another is among them.
    pub fn covers(&self, from: Address, to: Address) -> bool {
        let is_in = |list: &[Address], address| list.is_empty() || list.contains(&address);
        let one_way = |from, to| is_in(&self.from, from) && is_in(&self.to, to);
        from != to && (one_way(from, to) || self.both_ways && one_way(to, from))
    }

    /// The links between nodes that are in no group together: what a partition cuts.
    pub fn between_groups(groups: &[Vec<NodeId>]) -> Vec<Self> {
        let addresses = |group: &[NodeId]| group.iter().map(|node| Address::Node(*node)).collect();
        let pairs = groups.iter().enumerate().flat_map(|(at, one)| {
            groups[at + 1..].iter().map(move |other| (one.as_slice(), other.as_slice()))
        });
        let filled = pairs.filter(|(one, other)| !one.is_empty() && !other.is_empty());
        filled
            .map(|(one, other)| Self { from: addresses(one), to: addresses(other), both_ways: true })
            .collect()
    }

    /// What to cut so that of `nodes` only the pairs that `joined` accepts can talk, both ways.
    fn all_but(nodes: &[NodeId], joined: impl Fn(usize, usize) -> bool) -> Vec<Self> {
        let pairs = (0..nodes.len()).flat_map(|a| (a + 1..nodes.len()).map(move |b| (a, b)));
        let cut = pairs.filter(|(a, b)| !joined(*a, *b));
        cut.map(|(a, b)| Self { both_ways: true, ..Self::one_way(nodes[a], nodes[b]) }).collect()
    }

    /// A partial partition: two halves that only the first of `nodes` can reach both.
    pub fn bridge(nodes: &[NodeId]) -> Vec<Self> {
        let half = nodes.len().div_ceil(2);
        Self::all_but(nodes, |a, b| a == 0 || (a < half) == (b < half))
    }

    /// A partial partition: each of `nodes` reaches only its two neighbours in a circle.
    pub fn ring(nodes: &[NodeId]) -> Vec<Self> {
        Self::all_but(nodes, |a, b| b - a == 1 || b - a == nodes.len() - 1)
    }

    /// A partial partition: each of `nodes` reaches only its neighbours in a row.
    pub fn chained(nodes: &[NodeId]) -> Vec<Self> {
        Self::all_but(nodes, |a, b| b - a == 1)
    }

    /// A partial partition: only the first of `nodes` reaches the others, which cannot reach each
    /// other; it alone sees a majority.
    pub fn constrained(nodes: &[NodeId]) -> Vec<Self> {
        Self::all_but(nodes, |a, _| a == 0)
    }
}

impl fmt::Display for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, list: &[Address]| match list {
            [] => f.write_str("all"),
            [first, more @ ..] => {
                write!(f, "{first}")?;
                more.iter().try_for_each(|address| write!(f, " {address}"))
            }
        };
        list(f, &self.from)?;
        f.write_str(if self.both_ways { " <> " } else { " > " })?;
        list(f, &self.to)
    }
}

/// Links that differ from the world's default. Of several rules for a link the last counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkRule {
    /// Which links.
    pub links: Links,
    /// What they are like.
    pub net: NetConfig,
}

impl LinkRule {
    /// Zones: the links between nodes of different zones are like `between`.
    pub fn zones(zones: &[Vec<NodeId>], between: NetConfig) -> Vec<Self> {
        Links::between_groups(zones).into_iter().map(|links| Self { links, net: between }).collect()
    }
}

/// Streams: FIFO channels with retransmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct StreamConfig {
    /// How long a sender waits before it first sends something again; doubles with each attempt.
    pub resend_after: Duration,
    /// How long a sender tries before it takes the connection for broken.
    pub give_up_after: Duration,
}

impl Default for StreamConfig {
    /// 200 ms is the least that Linux waits (RFC 6298 says 1 s); 10 s is an assumption, as
    /// `TCP_USER_TIMEOUT` is set by servers that do not want to wait for a quarter of an hour.
    fn default() -> Self {
        Self { resend_after: Duration::from_millis(200), give_up_after: Duration::from_secs(10) }
    }
}

/// The named links.
pub const NET_PROFILES: [(&str, NetConfig); 3] = [
    ("ideal", NetConfig::with_latency(Latency::Constant(Duration::ZERO))),
    (
        "lan",
        NetConfig::with_latency(Latency::LogNormal {
            median: Duration::from_micros(250),
            p99: Duration::from_millis(2),
        }),
    ),
    (
        "wan",
        NetConfig {
            loss: 0.0001,
            ..NetConfig::with_latency(Latency::LogNormal {
                median: Duration::from_millis(35),
                p99: Duration::from_millis(60),
            })
        },
    ),
];

/// A link profile by name.
pub fn net_profile(name: &str) -> Option<NetConfig> {
    NET_PROFILES.iter().find(|(n, _)| *n == name).map(|(_, profile)| *profile)
}
