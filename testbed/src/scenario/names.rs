//! Names in a scenario that stand for something the testbed knows.

use std::borrow::Cow;
use std::fmt::Debug;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use sim::config::{self, Latency};
use toml::de::DeValue;

use super::decode::{Decode, Node, mismatch};
use super::diagnostic::{Problems, suggest};
use crate::plan::KINDS;
use crate::registry::{self, Named};
use crate::report::SITUATIONS;
use crate::units::format_duration;

/// A set of known names.
pub(crate) trait Names: Clone + Copy + Debug {
    /// What each of them names, as in "unknown protocol".
    const WHAT: &'static str;
    /// The names.
    fn known() -> Vec<&'static str>;
}

/// One of a set of known names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<N> {
    /// The name itself.
    pub(crate) text: &'static str,
    set: PhantomData<N>,
}

impl<N: Names> Decode for Name<N> {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let DeValue::String(text) = node.get_ref() else {
            return mismatch(node, &format!("the name of a {}", N::WHAT), problems);
        };
        let known = N::known();
        match known.iter().find(|name| *name == text) {
            Some(text) => Some(Self { text, set: PhantomData }),
            None => {
                let message = format!("unknown {} `{text}`", N::WHAT);
                problems.add_with_help(node.span(), message, suggest(text, known))
            }
        }
    }
}

impl<N: Names> JsonSchema for Name<N> {
    fn schema_name() -> Cow<'static, str> {
        format!("Name of a {}", N::WHAT).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": N::known()})
    }
}

/// Every profile: what it is one of, its name, and its figures.
pub fn profiles() -> Vec<(&'static str, &'static str, String)> {
    let net = config::NET_PROFILES.iter().map(|(name, net)| {
        ("net", *name, format!("latency {}, {} % lost", told(net.latency), net.loss * 100.0))
    });
    let disk = config::DISK_PROFILES.iter().map(|(name, disk)| {
        let (read, write, flush) = (told(disk.read), told(disk.write), told(disk.flush));
        ("disk", *name, format!("read {read}, write {write}, flush {flush}"))
    });
    net.chain(disk).collect()
}

fn told(latency: Latency) -> String {
    match latency {
        Latency::Constant(time) => format_duration(time),
        Latency::Uniform { min, max } => format!("{} to {}", format_duration(min), format_duration(max)),
        Latency::LogNormal { median, p99 } => {
            format!("{} (p99 {})", format_duration(median), format_duration(p99))
        }
        other => other.to_string(),
    }
}

fn of(table: &[Named]) -> Vec<&'static str> {
    table.iter().map(|named| named.name).collect()
}

macro_rules! sets {
    ($($(#[$meta:meta])* $name:ident, $what:literal, $known:expr;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;

        impl Names for $name {
            const WHAT: &'static str = $what;

            fn known() -> Vec<&'static str> {
                $known
            }
        }
    )*};
}

sets! {
    /// What servers say to each other.
    Protocols, "protocol", of(&registry::protocols());
    /// Where servers keep their state.
    Engines, "engine", of(registry::ENGINES);
    /// What clients do.
    Workloads, "workload", of(registry::WORKLOADS);
    /// What judges a history.
    HistoryChecks, "history check", of(registry::HISTORY_CHECKS);
    /// What watches a run.
    Monitors, "monitor", of(registry::MONITORS);
    /// What the nemesis does.
    Faults, "fault", KINDS.iter().map(|info| info.name).collect();
    /// How far the nemesis may go.
    LimitNames, "limit of faults", vec!["survivable", "any"];
    /// Whose faults end with the quiet tail.
    Cores, "core", vec!["all", "majority"];
    /// What a sweep may have to reach.
    Situations, "situation", SITUATIONS.iter().map(|situation| situation.name).collect();
    /// How requests get to a device.
    Submissions, "submission", config::SUBMISSIONS.iter().map(|(name, _)| *name).collect();
    /// What a file system promises.
    Persistences, "persistence", config::PERSISTENCES.iter().map(|(name, _)| *name).collect();
    /// Named links.
    NetProfiles, "network profile", config::NET_PROFILES.iter().map(|(name, _)| *name).collect();
    /// Named disks.
    DiskProfiles, "disk profile", config::DISK_PROFILES.iter().map(|(name, _)| *name).collect();
}
