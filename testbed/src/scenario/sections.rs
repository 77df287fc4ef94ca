//! The tables of a scenario file: every key, its type and its default.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::decode::{At, Decode, Fields, Node, mismatch, section};
use super::diagnostic::{Problems, suggest};
use super::draw::Draw;
use super::names::{
    Conditions, DiskProfiles, Engines, Faults, HistoryChecks, Monitors, Name, NetProfiles, Protocols,
    Workloads,
};
use super::options::Options;
use super::scalar::{Rate, Share, Size, Weight, looks_drawn};

section! {
    /// A situation to put a cluster into, and what must hold in it.
    File {
        /// What the scenario is called.
        "name" name: At<String>,
        /// One line about it.
        "about" about: Option<String>,
        /// Who takes part.
        "cluster" cluster: Cluster = "{}",
        /// How the storage engine is tuned.
        "engine" engine: Engine = "{}",
        /// The links.
        "net" net: Net = "{}",
        /// The disks.
        "disk" disk: Disk = "{}",
        /// The clocks.
        "clock" clock: Clock = "{}",
        /// What clients do. Without any, one with all defaults.
        "workload" workloads: Vec<At<Workload>> = "[{}]",
        /// What breaks.
        "fault" faults: Vec<At<Fault>> = "[]",
        /// What must hold.
        "check" check: Check = "{}",
        /// When a run ends.
        "budget" budget: Budget = "{}",
    }

    /// Who takes part.
    Cluster {
        /// How many servers.
        "nodes" nodes: At<Draw<u16>> = "5",
        /// How many clients.
        "clients" clients: At<Draw<u16>> = "5",
        /// What servers say to each other.
        "protocol" protocol: Name<Protocols> = "raft",
        /// Where servers keep their state.
        "engine" engine: Name<Engines> = "lsm",
        /// The protocol's own options.
        "options" options: Options = "{}",
    }

    /// How the storage engine is tuned.
    Engine {
        /// How much is kept in memory before it is written out as a table.
        "memtable" memtable: At<Draw<Size>> = "64KiB",
    }

    /// The links. Keys given here override the profile's.
    Net {
        /// A named set of links.
        "profile" profile: Name<NetProfiles> = "lan",
        /// One-way delay of a message.
        "latency" latency: Option<At<Latency>>,
        /// The share of messages that are lost.
        "loss" loss: Option<Draw<Share>>,
    }

    /// The disks. Keys given here override the profile's.
    Disk {
        /// A named disk.
        "profile" profile: Name<DiskProfiles> = "nvme",
        /// A 4 KiB read that misses the page cache.
        "read" read: Option<At<Latency>>,
        /// A write until it is acknowledged.
        "write" write: Option<At<Latency>>,
        /// A flush of data.
        "flush" flush: Option<At<Latency>>,
        /// A flush of data that must also write metadata.
        "flush-metadata" flush_metadata: Option<At<Latency>>,
    }

    /// The clocks.
    Clock {
        /// How far a node's clock may run ahead at the start; drawn per node from nothing to this.
        "skew" skew: Draw<Duration> = "0s",
    }

    /// What clients do.
    Workload {
        /// Which operations they know.
        "kind" kind: Name<Workloads> = "kv",
        /// Operations per second, over all clients.
        "rate" rate: Draw<Rate> = "250.0",
        /// How many keys are used.
        "keys" keys: At<Draw<u32>> = "5",
        /// The weight of each operation; one that is not named does not occur.
        "mix" mix: At<Mix> = "{ get = 0.4, put = 0.3, append = 0.1, cas = 0.1, delete = 0.05, scan = 0.05 }",
        /// After how long a client gives an operation up.
        "timeout" timeout: At<Draw<Duration>> = "2s",
        /// How long a written value is at least.
        "value-size" value_size: Draw<Size> = "8B",
    }

    /// The weight of each operation.
    Mix {
        /// Reads of a key.
        "get" get: Draw<Weight> = "0",
        /// Writes of a key.
        "put" put: Draw<Weight> = "0",
        /// Additions behind a key's value.
        "append" append: Draw<Weight> = "0",
        /// Compare-and-sets.
        "cas" cas: Draw<Weight> = "0",
        /// Removals of a key.
        "delete" delete: Draw<Weight> = "0",
        /// Reads of a range of keys.
        "scan" scan: Draw<Weight> = "0",
    }

    /// Something that breaks. It strikes `at` a time, `every` so often, or `when` a node is in some
    /// state.
    Fault {
        /// What it is called; by default its kind and its number among the nameless of that kind.
        "name" name: Option<At<String>>,
        /// What breaks.
        "kind" kind: At<Name<Faults>>,
        /// The moment at which it strikes, counted from the start.
        "at" at: Option<At<Draw<Duration>>>,
        /// It strikes again and again, with this much between two times, until the quiet tail.
        "every" every: Option<At<Draw<Duration>>>,
        /// With `every`: from when on; the start by default.
        "from" from: Option<At<Draw<Duration>>>,
        /// The state of a node at which it strikes.
        "when" when: Option<At<Name<Conditions>>>,
        /// With `when`: how likely it strikes each time; 1 by default.
        "probability" probability: Option<At<Draw<Share>>>,
        /// With `when`: how often it strikes at most; 20 by default.
        "at-most" at_most: Option<At<Draw<u32>>>,
        /// Of a partition: who is cut off from whom; `random-halves` by default.
        "groups" groups: Option<At<Groups>>,
        /// Of a partition: how long it lasts.
        "for" lasts: Option<At<Draw<Duration>>>,
        /// Of a crash: which node; with `when` by default the one in that state, else a random one.
        "target" target: Option<At<TargetName>>,
        /// Of a crash: after how long the node comes back.
        "restart-after" restart_after: Option<At<Draw<Duration>>>,
    }

    /// What must hold.
    Check {
        /// What the clients' history is judged by.
        "history" history: Name<HistoryChecks> = "linearizable",
        /// How many steps that judgement may take before it gives up.
        "steps" steps: Draw<u64> = "20_000_000",
        /// What watches the run; all monitors by default.
        "monitors" monitors: Option<Vec<Name<Monitors>>>,
        /// What progress must be made once the faults are over; none is asked for by default.
        "liveness" liveness: Option<At<Liveness>>,
    }

    /// Progress in a quiet tail, in which nothing breaks.
    Liveness {
        /// How long before the end the faults stop and heal.
        "after-heal" after_heal: At<Draw<Duration>> = "10s",
        /// How many operations must be answered after that at least.
        "operations" operations: Draw<u64> = "100",
    }

    /// When a run ends.
    Budget {
        /// Simulated time.
        "time" time: At<Draw<Duration>> = "60s",
        /// Events; a run that needs more is inconclusive.
        "events" events: At<Draw<u64>> = "5_000_000",
    }

    /// Evenly between two bounds.
    UniformLatency {
        /// The least.
        "min" min: Draw<Duration>,
        /// The most.
        "max" max: Draw<Duration>,
    }

    /// Log-normal, as in measurements of real links.
    LogNormalLatency {
        /// Half of the delays are below.
        "median" median: Draw<Duration>,
        /// 99 of 100 are below.
        "p99" p99: Draw<Duration>,
    }
}

/// A distribution of delays.
#[derive(Clone, Debug)]
pub(crate) enum Latency {
    Constant(Draw<Duration>),
    Uniform(UniformLatency),
    LogNormal(LogNormalLatency),
}

impl Decode for Latency {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        if !node.get_ref().is_table() || looks_drawn(node) {
            return Draw::decode(node, problems).map(Self::Constant);
        }
        let fields = Fields::of(node, &["constant", "uniform", "log-normal"], problems)?;
        match (fields.get("constant"), fields.get("uniform"), fields.get("log-normal")) {
            (Some(node), None, None) => Draw::decode(node, problems).map(Self::Constant),
            (None, Some(node), None) => UniformLatency::decode(node, problems).map(Self::Uniform),
            (None, None, Some(node)) => LogNormalLatency::decode(node, problems).map(Self::LogNormal),
            _ => problems.add_with_help(
                node.span(),
                "a latency is one duration or one distribution",
                "for example \"1ms\" or { log-normal = { median = \"500us\", p99 = \"8ms\" } }",
            ),
        }
    }
}

impl JsonSchema for Latency {
    fn schema_name() -> Cow<'static, str> {
        "Latency".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let constant = generator.subschema_for::<Draw<Duration>>();
        let uniform = generator.subschema_for::<UniformLatency>();
        let log_normal = generator.subschema_for::<LogNormalLatency>();
        let one = |key: &str, of: &Schema| {
            json_schema!({
                "type": "object",
                "properties": {key: of},
                "required": [key],
                "additionalProperties": false,
            })
        };
        json_schema!({
            "description": "A distribution of delays.",
            "anyOf": [
                constant,
                one("constant", &constant),
                one("uniform", &uniform),
                one("log-normal", &log_normal),
            ],
        })
    }
}

/// Whom a fault strikes, as a scenario names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetName {
    Node(u16),
    Leader,
    Subject,
    Random,
    Rest,
}

const ROLES: [&str; 4] = ["@leader", "@random", "@subject", "*"];

impl Decode for TargetName {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let DeValue::String(text) = node.get_ref() else {
            return mismatch(node, "a node such as \"n1\" or \"@leader\"", problems);
        };
        let number = || text.strip_prefix('n')?.parse().ok().filter(|number| *number > 0);
        match text.as_ref() {
            "@leader" => Some(Self::Leader),
            "@random" => Some(Self::Random),
            "@subject" => Some(Self::Subject),
            "*" => Some(Self::Rest),
            _ => number().map(Self::Node).or_else(|| {
                let help = suggest(text, ["n1"].into_iter().chain(ROLES));
                problems.add_with_help(node.span(), format!("`{text}` names no node"), help)
            }),
        }
    }
}

impl JsonSchema for TargetName {
    fn schema_name() -> Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A node, or a role that is resolved when the fault strikes.",
            "anyOf": [
                {"type": "string", "enum": ROLES},
                {"type": "string", "pattern": "^n[1-9][0-9]*$"},
            ],
        })
    }
}

/// Who is cut off from whom.
#[derive(Clone, Debug)]
pub(crate) enum Groups {
    RandomHalves,
    IsolateOne,
    Listed(Vec<At<Vec<At<TargetName>>>>),
}

const SHAPES: [&str; 2] = ["random-halves", "isolate-one"];

impl Decode for Groups {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let DeValue::String(shape) = node.get_ref() else {
            return Vec::decode(node, problems).map(Self::Listed);
        };
        match shape.as_ref() {
            "random-halves" => Some(Self::RandomHalves),
            "isolate-one" => Some(Self::IsolateOne),
            _ => {
                let message = format!("unknown shape of a partition `{shape}`");
                problems.add_with_help(node.span(), message, suggest(shape, SHAPES))
            }
        }
    }
}

impl JsonSchema for Groups {
    fn schema_name() -> Cow<'static, str> {
        "Groups".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let target = generator.subschema_for::<TargetName>();
        json_schema!({
            "description": "Who is cut off from whom.",
            "anyOf": [
                {"type": "string", "enum": SHAPES},
                {
                    "type": "array",
                    "minItems": 2,
                    "items": {"type": "array", "minItems": 1, "items": target},
                },
            ],
        })
    }
}
