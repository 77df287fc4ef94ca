//! From a scenario and a seed to a plan.
//!
//! Every choice has a stream of its own, keyed by the path of the field that leaves it open and, for
//! a repeated fault, by the number of the occurrence. Faults stand in that path by name. So one more
//! fault, or one more draw, changes no other choice.

use std::time::Duration;

use contract::kv::Op;
use contract::{Bug, Bugs, Membership, NodeId, Seed, Time};
use rand_chacha::ChaCha8Rng;
use sim::config::{self, Bandwidth, CpuConfig, DiskConfig, LinkRule, NetConfig, WorldConfig};
use sim::rng::{Keys, Purpose};

use super::schedule::Faults;
use super::{Checks, Core, KvMix, Limits, Liveness, Plan, Sometimes, Target, TransactionPlan, WorkloadPlan};
use crate::measure::Expectation;
use crate::registry;
use crate::scenario::draw::{Draw, Drawable, nano};
use crate::scenario::latency::Latency;
use crate::scenario::scalar::Share;
use crate::scenario::sections::{Cluster, Workload};
use crate::scenario::{Scenario, ScenarioError, numbered};
use crate::workload::transactions;

const PURPOSE: Purpose = Purpose::new("plan");

/// Where the choices of one plan come from.
#[derive(Clone, Copy)]
pub(super) struct Choices(Keys);

impl Choices {
    pub(super) fn stream(self, path: &str, position: u64) -> ChaCha8Rng {
        let mut stream = self.0.stream(PURPOSE, hash(path));
        stream.set_stream(position);
        stream
    }

    pub(super) fn make<T: Drawable>(self, path: &str, draw: &Draw<T>) -> T {
        draw.draw(&mut self.stream(path, 0))
    }
}

/// FNV-1a.
pub(super) fn hash(text: &str) -> u64 {
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
        let nodes = choices.make("cluster.nodes", &cluster.nodes.value);
        let founders = founders(cluster, nodes, choices);
        let voters = founders.as_ref().map_or(usize::from(nodes), |founders| founders.voters.len());
        let options = cluster.options.draw(cluster.protocol.text, &|path: &str| choices.stream(path, 0));
        registry::check_options(cluster.protocol.text, &options, Some(voters))
            .map_err(|message| self.error_at(&cluster.options.0.span, &message))?;
        let until = Time::ZERO + choices.make("budget.time", &file.budget.time.value);
        let liveness = file.check.liveness.as_ref().map(|liveness| Liveness {
            after_heal: choices.make("check.liveness.after-heal", &liveness.value.after_heal.value),
            operations: choices.make("check.liveness.operations", &liveness.value.operations),
            core: if liveness.value.core.text == "majority" { Core::Majority } else { Core::All },
        });
        let tail = liveness.map_or(Duration::ZERO, |liveness| liveness.after_heal);
        let quiet_from = Time::ZERO + until.since(Time::ZERO + tail);
        let monitors = match &file.check.monitors {
            Some(names) => names.iter().map(|name| name.text.to_owned()).collect(),
            None => registry::MONITORS.iter().map(|monitor| monitor.name.to_owned()).collect(),
        };
        let zones = self.zones();
        let net = self.net(choices);
        let between = config::net_profile(file.net.between_zones.text).expect("a known profile");
        let between = NetConfig { latency: between.latency, ..net };
        let transactions = self.transactions(choices);
        let promised = transactions.as_ref().map_or("linearizable", |plan| plan.isolation.promises());
        let memtable = choices.make("engine.memtable", &file.engine.memtable.value).0;
        Ok(Plan {
            scenario: self.name(),
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
                net,
                links: LinkRule::zones(&zones, between),
                disk: self.disk(choices),
                clock_skew: choices.make("clock.skew", &file.clock.skew),
                clock_drift_ppm: choices.make("clock.drift", &file.clock.drift),
                cpu: CpuConfig {
                    per_message: choices.make("cpu.per-message", &file.cpu.per_message),
                    // A KiB in nanoseconds, a byte in picoseconds.
                    ps_per_byte: choices.make("cpu.per-kib", &file.cpu.per_kib).as_nanos() as u64 * 1000
                        / 1024,
                },
                ..WorldConfig::default()
            },
            workloads: self.workloads(choices),
            transactions,
            founders,
            only: None,
            faults: Faults { choices, nodes, zones: &zones, quiet_from }
                .plan(&self.faults, self.swarm.as_ref()),
            limits: if file.limits.text == "any" { Limits::Any } else { Limits::Survivable },
            zones,
            checks: Checks {
                history: file.check.history.map_or(promised, |given| given.text).to_owned(),
                steps: choices.make("check.steps", &file.check.steps),
                monitors,
                liveness,
                sometimes: self.sometimes(),
                stop_at_first: file.check.stop_at_first,
            },
            expectations: self.expectations(choices, until),
            until,
            quiet_from,
            events: choices.make("budget.events", &file.budget.events.value),
        })
    }

    fn transactions(&self, choices: Choices) -> Option<TransactionPlan> {
        let given = &self.file.transactions.as_ref()?.value;
        let workloads = self.workloads(choices);
        Some(TransactionPlan {
            shards: choices.make("transactions.shards", &given.shards.value),
            spares: choices.make("transactions.spares", &given.spares),
            keys: workloads.iter().map(|workload| workload.keys).max().expect("there is a workload"),
            mode: choices.make("transactions.commit", &given.commit),
            isolation: choices.make("transactions.isolation", &given.isolation),
            lock_ttl: choices.make("transactions.lock-ttl", &given.lock_ttl),
            move_every: given
                .move_every
                .as_ref()
                .map(|every| choices.make("transactions.move-every", &every.value)),
            balance_every: given
                .balance_every
                .as_ref()
                .map(|every| choices.make("transactions.balance-every", &every.value)),
            split_above: given
                .split_above
                .as_ref()
                .map(|pairs| choices.make("transactions.split-above", &pairs.value).into()),
            collect_every: given
                .collect_every
                .as_ref()
                .map(|every| choices.make("transactions.collect-every", &every.value)),
            leaves: choices.make("transactions.leave", &given.leave).0,
        })
    }

    fn net(&self, choices: Choices) -> NetConfig {
        let net = &self.file.net;
        let mut config = config::net_profile(net.profile.text).expect("a known profile");
        if let Some(given) = &net.latency {
            config.latency = latency("net.latency", &given.value, choices);
        }
        let shares: [(&str, &Option<Draw<Share>>, &mut f64); 4] = [
            ("net.loss", &net.loss, &mut config.loss),
            ("net.duplicate", &net.duplicate, &mut config.duplicate),
            ("net.corrupt", &net.corrupt, &mut config.corrupt),
            ("net.reorder", &net.reorder, &mut config.reorder),
        ];
        for (path, given, field) in shares {
            if let Some(given) = given {
                *field = choices.make(path, given).0;
            }
        }
        if config.reorder > 0.0 {
            config.reorder_by = choices.make("net.reorder-by", &net.reorder_by);
        }
        config.bandwidth = net.bandwidth.as_ref().map(|bandwidth| Bandwidth {
            bytes_per_second: choices.make("net.bandwidth", bandwidth).0.max(1),
            queue_bytes: choices.make("net.queue", &net.queue).0,
        });
        config.weather = net.weather.as_ref().map(|weather| config::Weather {
            spell: whole_millis(choices.make("net.weather.spell", &weather.spell)),
            bad: choices.make("net.weather.bad", &weather.bad).0,
            loss: choices.make("net.weather.loss", &weather.loss).0,
            slowdown: choices.make("net.weather.slowdown", &weather.slowdown).0,
        });
        config
    }

    fn zones(&self) -> Vec<Vec<NodeId>> {
        let zones = self.file.net.zones.iter().flat_map(|zones| &zones.value);
        let node = |target: &Target| match target {
            Target::Node(node) => *node,
            other => unreachable!("{other} was refused as a member of a zone"),
        };
        zones.map(|zone| zone.value.iter().map(|at| node(&at.value)).collect()).collect()
    }

    /// What a sweep of it must reach.
    pub fn sometimes(&self) -> Vec<Sometimes> {
        let given = self.file.check.sometimes.iter().map(|at| &at.value);
        given.map(|some| Sometimes { situation: some.situation.to_owned(), share: some.share.0 }).collect()
    }

    fn expectations(&self, choices: Choices, end: Time) -> Vec<Expectation> {
        let expected = self.file.expectations.iter().map(|at| &at.value).map(|expected| {
            let name = &expected.name.value;
            let at = |field, draw| Time::ZERO + choices.make(&format!("expect.{name}.{field}"), draw);
            Expectation {
                name: name.clone(),
                that: expected.that.clone(),
                from: at("from", &expected.from).min(end),
                until: expected.until.as_ref().map_or(end, |until| at("until", until).min(end)),
            }
        });
        expected.collect()
    }

    fn workloads(&self, choices: Choices) -> Vec<WorkloadPlan> {
        let given = self.file.workloads.iter().map(|workload| &workload.value);
        let names = numbered(given.clone().map(|workload| (None, workload.kind.text)));
        let serves = registry::by_name(self.file.cluster.protocol.text).expect("a known name").operations;
        names.iter().zip(given).map(|(name, given)| workload(name, given, serves, choices)).collect()
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
        if let Some(given) = &disk.torn_unit {
            let unit = choices.make("disk.torn-unit", &given.value).0;
            config.torn_unit = u16::try_from(unit).expect("a checked torn unit is small");
        }
        let known = config::SUBMISSIONS.iter().find(|(name, _)| *name == disk.submission.text);
        config.submission = known.expect("a known name").1;
        if let Some(given) = &disk.persistence {
            let known = config::PERSISTENCES.iter().find(|(name, _)| *name == given.text);
            config.persistence = known.expect("a known name").1;
        }
        config
    }
}

/// Spells begin at whole milliseconds.
/// Who takes part at first; `None`: everyone, with a vote.
fn founders(cluster: &Cluster, nodes: u16, choices: Choices) -> Option<Membership> {
    let make = |name: &str, draw: &Draw<u16>| choices.make(&format!("cluster.{name}"), draw);
    let spares = make("spares", &cluster.spares.value);
    let learners = make("learners", &cluster.learners.value);
    let witnesses = make("witnesses", &cluster.witnesses.value);
    if spares + learners + witnesses == 0 {
        return None;
    }
    let members = nodes - spares;
    let voters = members - learners;
    let nodes = |from: u16, to: u16| (from + 1..=to).map(NodeId).collect();
    Some(Membership {
        voters: nodes(0, voters),
        learners: nodes(voters, members),
        witnesses: nodes(voters - witnesses, voters),
        ..Membership::default()
    })
}

fn whole_millis(spell: Duration) -> Duration {
    Duration::from_millis(u64::try_from(spell.as_millis()).expect("durations fit").max(1))
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
        Latency::Exponential(mean) => config::Latency::Exponential { mean: make("exponential", mean) },
        Latency::Table(table) => config::Latency::Table(*table),
    }
}

/// What clients do of what a protocol serves, in the order of [`Op::NAMES`].
fn usual_weights(serves: &[&str]) -> [f64; 7] {
    const USUAL: [f64; 7] = [0.4, 0.3, 0.1, 0.1, 0.05, 0.05, 0.0];
    let of = |weight: &dyn Fn(usize) -> f64| {
        std::array::from_fn(|place| if serves.contains(&Op::NAMES[place]) { weight(place) } else { 0.0 })
    };
    let usual: [f64; 7] = of(&|place| USUAL[place]);
    if usual.iter().sum::<f64>() > 0.0 { usual } else { of(&|_| 1.0) }
}

fn workload(name: &str, given: &Workload, serves: &[&str], choices: Choices) -> WorkloadPlan {
    let path = |field: &str| format!("workload.{name}.{field}");
    let transactional = transactions::kind(given.kind.text).is_some();
    let weights = match &given.mix {
        Some(mix) => {
            mix.value.weights().map(|(name, draw)| choices.make(&path(&format!("mix.{name}")), draw).0)
        }
        None => usual_weights(serves),
    };
    let sum: f64 = weights.iter().sum();
    assert!(sum > 0.0, "a mix has an operation in it");
    let mix = KvMix::of(weights.map(|weight| nano(weight / sum)));
    let value_size = choices.make(&path("value-size"), &given.value_size).0;
    WorkloadPlan {
        kind: given.kind.text.to_owned(),
        rate: choices.make(&path("rate"), &given.rate).0,
        keys: choices.make(&path("keys"), &given.keys.value),
        mix,
        timeout: choices.make(&path("timeout"), &given.timeout.value),
        retry_after: (given.retry_after.value.min(), given.retry_after.value.max()),
        value_size: usize::try_from(value_size).expect("a value fits an address space"),
        actions: if transactional { (given.actions.value.min(), given.actions.value.max()) } else { (0, 0) },
        reads: if transactional { choices.make(&path("reads"), &given.reads).0 } else { 0.0 },
    }
}
