//! From a scenario and a seed to a plan.
//!
//! Every choice has a stream of its own, keyed by the path of the field that leaves it open and, for
//! a repeated fault, by the number of the occurrence. Faults stand in that path by name. So one more
//! fault, or one more draw, changes no other choice.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::{Bug, Bugs, NodeId, Seed, Time};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sim::config::{self, DiskConfig, NetConfig, WorldConfig};
use sim::rng::{Keys, Purpose};

use super::{Action, Checks, KvMix, Liveness, Plan, PlannedFault, Target, Trigger, WorkloadPlan};
use crate::registry;
use crate::scenario::draw::{Draw, Drawable, nano};
use crate::scenario::fault::{ActionSpec, FaultSpec, Schedule, Shape};
use crate::scenario::scalar::Weight;
use crate::scenario::sections::{Latency, TargetName, Workload};
use crate::scenario::{Scenario, ScenarioError, numbered};

const PURPOSE: Purpose = Purpose::new("plan");

/// Where the choices of one plan come from.
#[derive(Clone, Copy)]
struct Choices(Keys);

impl Choices {
    fn stream(self, path: &str, position: u64) -> ChaCha8Rng {
        let mut stream = self.0.stream(PURPOSE, hash(path));
        stream.set_stream(position);
        stream
    }

    fn make<T: Drawable>(self, path: &str, draw: &Draw<T>) -> T {
        draw.draw(&mut self.stream(path, 0))
    }
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

impl Scenario {
    /// The plan of one seed, with a bug planted if one is named. The same scenario, seed and bug always give the same plan.
    ///
    /// # Errors
    /// If the protocol refuses the options that this seed draws.
    pub fn plan(&self, seed: Seed, bug: Option<Bug>) -> Result<Plan, ScenarioError> {
        let file = &self.file;
        let choices = Choices(Keys::new(seed));
        let cluster = &file.cluster;
        let options = cluster.options.draw(&|path: &str| choices.stream(path, 0));
        registry::check_options(cluster.protocol.text, &options)
            .map_err(|message| self.error_at(&cluster.options.0.span, &message))?;
        let until = Time::ZERO + choices.make("budget.time", &file.budget.time.value);
        let liveness = file.check.liveness.as_ref().map(|liveness| Liveness {
            after_heal: choices.make("check.liveness.after-heal", &liveness.value.after_heal.value),
            operations: choices.make("check.liveness.operations", &liveness.value.operations),
        });
        let tail = liveness.map_or(Duration::ZERO, |liveness| liveness.after_heal);
        let quiet_from = Time::ZERO + until.since(Time::ZERO + tail);
        let nodes = choices.make("cluster.nodes", &cluster.nodes.value);
        let monitors = match &file.check.monitors {
            Some(names) => names.iter().map(|name| name.text.to_owned()).collect(),
            None => registry::MONITORS.iter().map(|monitor| monitor.name.to_owned()).collect(),
        };
        let memtable = choices.make("engine.memtable", &file.engine.memtable.value).0;
        Ok(Plan {
            scenario: file.name.value.clone(),
            seed,
            bugs: Bugs(bug),
            protocol: cluster.protocol.text.to_owned(),
            engine: cluster.engine.text.to_owned(),
            options,
            memtable_bytes: usize::try_from(memtable).expect("a memtable fits an address space"),
            world: WorldConfig {
                seed,
                nodes,
                clients: choices.make("cluster.clients", &cluster.clients.value),
                net: self.net(choices),
                disk: self.disk(choices),
                clock_skew: choices.make("clock.skew", &file.clock.skew),
                ..WorldConfig::default()
            },
            workloads: self.workloads(choices),
            only: None,
            faults: Faults { choices, nodes, quiet_from }.plan(&self.faults),
            checks: Checks {
                history: file.check.history.text.to_owned(),
                steps: choices.make("check.steps", &file.check.steps),
                monitors,
                liveness,
            },
            until,
            quiet_from,
            events: choices.make("budget.events", &file.budget.events.value),
        })
    }

    fn net(&self, choices: Choices) -> NetConfig {
        let net = &self.file.net;
        let mut config = config::net_profile(net.profile.text).expect("a known profile");
        if let Some(given) = &net.latency {
            config.latency = latency("net.latency", &given.value, choices);
        }
        if let Some(loss) = &net.loss {
            config.loss = choices.make("net.loss", loss).0;
        }
        config
    }

    fn workloads(&self, choices: Choices) -> Vec<WorkloadPlan> {
        let given = self.file.workloads.iter().map(|workload| &workload.value);
        let names = numbered(given.clone().map(|workload| (None, workload.kind.text)));
        names.iter().zip(given).map(|(name, given)| workload(name, given, choices)).collect()
    }

    fn disk(&self, choices: Choices) -> DiskConfig {
        let disk = &self.file.disk;
        let mut config = config::disk_profile(disk.profile.text).expect("a known profile");
        let fields = [
            ("disk.read", &disk.read, &mut config.read),
            ("disk.write", &disk.write, &mut config.write),
            ("disk.flush", &disk.flush, &mut config.flush),
            ("disk.flush-metadata", &disk.flush_metadata, &mut config.flush_metadata),
        ];
        for (path, given, field) in fields {
            if let Some(given) = given {
                *field = latency(path, &given.value, choices);
            }
        }
        config
    }
}

fn latency(path: &str, given: &Latency, choices: Choices) -> config::Latency {
    let make = |bound: &str, draw| choices.make(&format!("{path}.{bound}"), draw);
    match given {
        Latency::Constant(draw) => config::Latency::Constant(make("constant", draw)),
        Latency::Uniform(uniform) => {
            config::Latency::Uniform { min: make("min", &uniform.min), max: make("max", &uniform.max) }
        }
        Latency::LogNormal(log_normal) => config::Latency::LogNormal {
            median: make("median", &log_normal.median),
            p99: make("p99", &log_normal.p99),
        },
    }
}

fn workload(name: &str, given: &Workload, choices: Choices) -> WorkloadPlan {
    let path = |field: &str| format!("workload.{name}.{field}");
    let mix = &given.mix.value;
    let weight = |name: &str, draw: &Draw<Weight>| choices.make(&path(&format!("mix.{name}")), draw).0;
    let weights = [
        weight("get", &mix.get),
        weight("put", &mix.put),
        weight("append", &mix.append),
        weight("cas", &mix.cas),
        weight("delete", &mix.delete),
        weight("scan", &mix.scan),
    ];
    let sum: f64 = weights.iter().sum();
    assert!(sum > 0.0, "a mix has an operation in it");
    let [get, put, append, cas, delete, scan] = weights.map(|weight| nano(weight / sum));
    let value_size = choices.make(&path("value-size"), &given.value_size).0;
    WorkloadPlan {
        kind: given.kind.text.to_owned(),
        rate: choices.make(&path("rate"), &given.rate).0,
        keys: choices.make(&path("keys"), &given.keys.value),
        mix: KvMix { get, put, append, cas, delete, scan },
        timeout: choices.make(&path("timeout"), &given.timeout.value),
        value_size: usize::try_from(value_size).expect("a value fits an address space"),
    }
}

/// What the choices about faults depend on.
struct Faults {
    choices: Choices,
    nodes: u16,
    quiet_from: Time,
}

impl Faults {
    fn plan(&self, specs: &[FaultSpec]) -> Vec<PlannedFault> {
        let mut faults: Vec<PlannedFault> = specs.iter().flat_map(|spec| self.occurrences(spec)).collect();
        // State-aware faults last; at equal times the scenario's order.
        faults.sort_by_key(|fault| match fault.trigger {
            Trigger::At(time) => time,
            Trigger::When { .. } => Time::FAR,
        });
        let mut taken = BTreeSet::new();
        for fault in &mut faults {
            let hashed = hash(&fault.name);
            fault.id = (hashed ^ hashed >> 32) as u32;
            while !taken.insert(fault.id) {
                fault.id = fault.id.wrapping_add(1);
            }
        }
        faults
    }

    fn occurrences(&self, spec: &FaultSpec) -> Vec<PlannedFault> {
        let path = |field: &str| format!("fault.{}.{field}", spec.name);
        match &spec.schedule {
            Schedule::At(draw) => {
                let at = Time::ZERO + self.choices.make(&path("at"), draw);
                self.timed(spec, spec.name.clone(), at, 0).into_iter().collect()
            }
            Schedule::Every { interval, from } => {
                let mut at = Time::ZERO + self.choices.make(&path("from"), from);
                let mut faults = Vec::new();
                for number in 1.. {
                    at = at + interval.draw(&mut self.choices.stream(&path("every"), number));
                    match self.timed(spec, format!("{}#{number}", spec.name), at, number) {
                        Some(fault) => faults.push(fault),
                        None => break,
                    }
                }
                faults
            }
            Schedule::When { condition, probability, at_most } => {
                let trigger = Trigger::When {
                    condition: *condition,
                    probability: self.choices.make(&path("probability"), probability).0,
                    at_most: self.choices.make(&path("at-most"), at_most),
                };
                vec![PlannedFault {
                    id: 0,
                    name: spec.name.clone(),
                    trigger,
                    action: state_aware(spec, self.nodes),
                }]
            }
        }
    }

    /// The occurrence of a fault at a moment; none once the quiet tail has begun.
    fn timed(&self, spec: &FaultSpec, name: String, at: Time, number: u64) -> Option<PlannedFault> {
        if at >= self.quiet_from {
            return None;
        }
        let stream = |field: &str| self.choices.stream(&format!("fault.{}.{field}", spec.name), number);
        let cut = |draw: &Draw<Duration>, field: &str| {
            Draw::Fixed(draw.draw(&mut stream(field)).min(self.quiet_from - at))
        };
        let action = match &spec.action {
            ActionSpec::Partition { shape, lasts } => Action::Partition {
                groups: self.groups(shape, &mut stream("groups")),
                lasts: cut(lasts, "for"),
            },
            ActionSpec::Crash { target, restart_after } => Action::Crash {
                target: match target {
                    TargetName::Random => Target::Node(NodeId(stream("target").random_range(1..=self.nodes))),
                    target => resolved(*target),
                },
                restart_after: cut(restart_after, "restart-after"),
            },
        };
        Some(PlannedFault { id: 0, name, trigger: Trigger::At(at), action })
    }

    fn groups(&self, shape: &Shape, rng: &mut impl Rng) -> Vec<Vec<Target>> {
        let mut shuffled: Vec<u16> = (1..=self.nodes).collect();
        shuffled.shuffle(rng);
        let node = |number: &u16| Target::Node(NodeId(*number));
        match shape {
            Shape::RandomHalves => {
                let (one, other) = shuffled.split_at_mut(usize::from(self.nodes / 2));
                one.sort_unstable();
                other.sort_unstable();
                vec![one.iter().map(node).collect(), other.iter().map(node).collect()]
            }
            Shape::IsolateOne => vec![vec![node(&shuffled[0])], vec![Target::Rest]],
            Shape::Listed(groups) => {
                let named = |number: &u16| groups.iter().flatten().any(|t| *t == TargetName::Node(*number));
                let mut free = shuffled.iter().filter(|number| !named(number));
                let mut target = |name: &TargetName| match name {
                    TargetName::Random => {
                        node(free.next().expect("a partition names no more nodes than there are"))
                    }
                    name => resolved(*name),
                };
                groups.iter().map(|group| group.iter().map(&mut target).collect()).collect()
            }
        }
    }
}

/// What a state-aware fault does: its choices are made each time it strikes.
fn state_aware(spec: &FaultSpec, nodes: u16) -> Action {
    match &spec.action {
        ActionSpec::Partition { shape, lasts } => Action::Partition {
            groups: match shape {
                Shape::RandomHalves => vec![vec![Target::Random; usize::from(nodes / 2)], vec![Target::Rest]],
                Shape::IsolateOne => vec![vec![Target::Random], vec![Target::Rest]],
                Shape::Listed(groups) => {
                    groups.iter().map(|group| group.iter().map(|name| resolved(*name)).collect()).collect()
                }
            },
            lasts: lasts.clone(),
        },
        ActionSpec::Crash { target, restart_after } => {
            Action::Crash { target: resolved(*target), restart_after: restart_after.clone() }
        }
    }
}

/// A scenario's name for a target as a plan holds it.
pub(crate) fn resolved(name: TargetName) -> Target {
    match name {
        TargetName::Node(number) => Target::Node(NodeId(number)),
        TargetName::Leader => Target::Leader,
        TargetName::Subject => Target::Subject,
        TargetName::Random => Target::Random,
        TargetName::Rest => Target::Rest,
    }
}
