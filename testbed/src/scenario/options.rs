//! The protocol's own options: a table whose keys only the protocol knows.
//!
//! A table in it that goes by a protocol's name is for that protocol alone, so that one scenario can be run
//! with several: `options = { heartbeat-interval = "50ms", raft = { pre-vote = true } }`.

use std::borrow::Cow;

use rand::Rng;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use toml::de::{DeString, DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Value};

use super::decode::{At, Decode, Node, mismatch};
use super::diagnostic::{Problems, suggest};
use super::draw::Drawable;
use crate::{registry, units};

/// A table for the protocol, with draws not yet made.
#[derive(Clone, Debug)]
pub(crate) struct Options(pub(crate) At<Value>);

impl Decode for Options {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        if !node.get_ref().is_table() {
            return mismatch(node, "a table", problems);
        }
        match Value::deserialize(ValueDeserializer::from(node.clone())) {
            Ok(value) => Some(Self(At { value, span: node.span() })),
            Err(error) => problems.add(error.span().unwrap_or(node.span()), error.message()),
        }
    }
}

impl JsonSchema for Options {
    fn schema_name() -> Cow<'static, str> {
        "Options".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "The protocol's own options.", "type": "object"})
    }
}

impl Options {
    /// Whether nothing in it is left to a seed.
    pub(super) fn is_fixed(&self) -> bool {
        fn fixed(value: &Value) -> bool {
            match value {
                Value::Table(table) => !is_draw(table) && table.values().all(fixed),
                Value::Array(items) => items.iter().all(fixed),
                _ => true,
            }
        }
        fixed(&self.0.value)
    }

    /// The table of a protocol with its draws made; `stream` gives the numbers for the draw at a path.
    pub(crate) fn draw<R: Rng>(&self, protocol: &str, stream: &impl Fn(&str) -> R) -> serde_json::Value {
        let mut own = self.0.value.clone();
        if let Value::Table(table) = &mut own {
            let tables: Vec<_> =
                registry::protocols().iter().filter_map(|p| table.remove_entry(p.name)).collect();
            for (name, options) in tables {
                if let (true, Value::Table(options)) = (name == protocol, options) {
                    table.extend(options);
                }
            }
        }
        serde_json::to_value(drawn(&own, "cluster.options", stream)).expect("options are plain data")
    }
}

/// Asks the protocol, and each that has a table of its own, whether it understands its options, and says
/// where it does not.
pub(super) fn check(protocol: &str, node: &Node<'_>, problems: &mut Problems) {
    let table = node.get_ref().as_table().expect("options are a table");
    let names = registry::protocols();
    let is_protocol = |key: &str| names.iter().any(|known| known.name == key);
    let own = |key: &str| table.iter().find(|(known, _)| known.get_ref() == key).map(|(_, options)| options);
    for known in names.iter().filter(|known| known.name == protocol || own(known.name).is_some()) {
        let common = table.iter().filter(|(key, _)| !is_protocol(key.get_ref()));
        let mut merged: DeTable<'_> = common.map(|(key, value)| (key.clone(), value.clone())).collect();
        if let Some(DeValue::Table(options)) = own(known.name).map(Spanned::get_ref) {
            merged.extend(options.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        check_one(known.name, &Spanned::new(node.span(), DeValue::Table(merged)), problems);
    }
}

fn check_one(protocol: &str, node: &Node<'_>, problems: &mut Problems) {
    let told = |node: &Node<'_>| {
        let options = serde_json::Value::deserialize(ValueDeserializer::from(node.clone())).ok()?;
        registry::check_options(protocol, &options, None).err()
    };
    let Some(message) = told(node) else { return };
    let table = node.get_ref().as_table().expect("options are a table");
    if let Some((field, known)) = unknown_field(&message) {
        let key = table.keys().find(|key| key.get_ref() == field);
        let span = key.map_or(node.span(), Spanned::span);
        problems.add_with_help::<()>(
            span,
            format!("unknown option `{field}` of {protocol}"),
            suggest(field, known),
        );
        return;
    }
    // The protocol names no place: it is that of the option it names first, or refuses even alone.
    let is_culprit = |key: &Spanned<DeString<'_>>, value: &Node<'_>| {
        let alone = DeValue::Table([(key.clone(), value.clone())].into_iter().collect());
        message.starts_with(&format!("{}:", key.get_ref()))
            || told(&Spanned::new(value.span(), alone)).is_some_and(|told| told == message)
    };
    let culprit = table.iter().find(|(key, value)| is_culprit(key, value));
    problems.add::<()>(culprit.map_or(node.span(), |(_, value)| value.span()), message);
}

/// The name that serde did not know, and those that it did.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let quoted: Vec<&str> = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2).collect();
    let (field, known) = quoted.split_first()?;
    Some((field, known.to_vec()))
}

/// `{ min, max }` of one type, or `{ one_of }` with something in it.
fn is_draw(table: &toml::Table) -> bool {
    match (table.get("min"), table.get("max"), table.get("one_of"), table.len()) {
        (Some(min), Some(max), None, 2) => min.same_type(max),
        (None, None, Some(Value::Array(choices)), 1) => !choices.is_empty(),
        _ => false,
    }
}

fn drawn<R: Rng>(value: &Value, path: &str, stream: &impl Fn(&str) -> R) -> Value {
    match value {
        Value::Table(table) if is_draw(table) => choose(table, &mut stream(path)).unwrap_or(value.clone()),
        Value::Table(table) => {
            let one = |(key, value): (&String, &Value)| {
                (key.clone(), drawn(value, &format!("{path}.{key}"), stream))
            };
            Value::Table(table.iter().map(one).collect())
        }
        Value::Array(items) => {
            let one = |(place, value): (usize, &Value)| drawn(value, &format!("{path}.{place}"), stream);
            Value::Array(items.iter().enumerate().map(one).collect())
        }
        scalar => scalar.clone(),
    }
}

/// The choice, or `None` if the bounds are no numbers and no durations: then it is the protocol's to
/// say what it makes of the table.
fn choose(table: &toml::Table, rng: &mut impl Rng) -> Option<Value> {
    if let Some(choices) = table.get("one_of").and_then(Value::as_array) {
        return Some(choices[rng.random_range(0..choices.len())].clone());
    }
    match (table.get("min")?, table.get("max")?) {
        (Value::Integer(min), Value::Integer(max)) if min <= max => {
            Some(Value::Integer(rng.random_range(*min..=*max)))
        }
        (Value::Float(min), Value::Float(max)) if min <= max => {
            Some(Value::Float(f64::between(*min, *max, rng)))
        }
        (Value::String(min), Value::String(max)) => {
            let (min, max) = (units::parse_duration(min).ok()?, units::parse_duration(max).ok()?);
            (min <= max)
                .then(|| Value::String(units::format_duration(std::time::Duration::between(min, max, rng))))
        }
        _ => None,
    }
}
