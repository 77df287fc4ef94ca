//! Distributions of delays, as scenarios write them.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use sim::config::Quantiles;

use super::decode::{Decode, Fields, Node, mismatch};
use super::diagnostic::Problems;
use super::draw::Draw;
use super::scalar::{Share, looks_drawn};
use super::sections::{LogNormalLatency, UniformLatency};

const LATENCIES: [&str; 5] = ["constant", "uniform", "log-normal", "exponential", "table"];

/// A distribution of delays.
#[derive(Clone, Debug)]
pub(crate) enum Latency {
    Constant(Draw<Duration>),
    Uniform(UniformLatency),
    LogNormal(LogNormalLatency),
    Exponential(Draw<Duration>),
    Table(Quantiles),
}

impl Decode for Latency {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        if !node.get_ref().is_table() || looks_drawn(node) {
            return Draw::decode(node, problems).map(Self::Constant);
        }
        let fields = Fields::of(node, &LATENCIES, problems)?;
        let given: Vec<_> = LATENCIES.iter().filter_map(|name| Some((*name, fields.get(name)?))).collect();
        match given[..] {
            [("constant", node)] => Draw::decode(node, problems).map(Self::Constant),
            [("uniform", node)] => UniformLatency::decode(node, problems).map(Self::Uniform),
            [("log-normal", node)] => LogNormalLatency::decode(node, problems).map(Self::LogNormal),
            [("exponential", node)] => Draw::decode(node, problems).map(Self::Exponential),
            [("table", node)] => quantiles(node, problems).map(Self::Table),
            _ => problems.add_with_help(
                node.span(),
                "a latency is one duration or one distribution",
                "for example \"1ms\" or { log-normal = { median = \"500us\", p99 = \"8ms\" } }",
            ),
        }
    }
}

/// The points of a measured distribution: quantile and delay, the first at 0, the last at 1.
fn quantiles(node: &Node<'_>, problems: &mut Problems) -> Option<Quantiles> {
    let Some(points) = node.get_ref().as_array() else {
        return mismatch(node, "a list of points such as [0.5, \"2ms\"]", problems);
    };
    let mut table = Vec::new();
    for point in points.iter() {
        let pair: Vec<&Node<'_>> =
            point.get_ref().as_array().into_iter().flat_map(|pair| pair.iter()).collect();
        let [quantile, delay] = pair[..] else {
            return problems.add(point.span(), "a point is a quantile and a delay, such as [0.5, \"2ms\"]");
        };
        let quantile: Share = Share::decode(quantile, problems)?;
        table.push((quantile.0, Duration::decode(delay, problems)?));
    }
    Quantiles::new(&table).map_err(|error| problems.add::<()>(node.span(), error.to_string())).ok()
}

impl JsonSchema for Latency {
    fn schema_name() -> Cow<'static, str> {
        "Latency".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let constant = generator.subschema_for::<Draw<Duration>>();
        let uniform = generator.subschema_for::<UniformLatency>();
        let log_normal = generator.subschema_for::<LogNormalLatency>();
        let table = json_schema!({
            "description": "Points of an inverse distribution function, from 0 to 1.",
            "type": "array",
            "items": {"type": "array", "minItems": 2, "maxItems": 2},
        });
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
                one("exponential", &constant),
                one("table", &table),
            ],
        })
    }
}
