//! Values of arguments, and what is said of those that are none.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use testbed::Bug;
use testbed::checker::Consistency;
use testbed::checker::formats::Format;
use testbed::checker::isolation::Level;
use testbed::checker::models::AnyModel;
use testbed::explore;
use testbed::registry;
use testbed::scenario::nearest;
use testbed::units::{parse_bytes, parse_duration};

use crate::args::Promise;

pub(crate) fn bug_parser() -> impl TypedValueParser<Value = Bug> {
    let names = Bug::ALL.iter().map(|(_, name, _)| *name);
    PossibleValuesParser::new(names).map(|name| name.parse().expect("a listed name is a bug's"))
}

pub(crate) fn protocol_parser() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(registry::protocols().into_iter().map(|protocol| protocol.name))
}

pub(crate) fn model_parser() -> impl TypedValueParser<Value = AnyModel> {
    let names = AnyModel::all().map(AnyModel::name);
    PossibleValuesParser::new(names).map(|name| AnyModel::named(&name).expect("a listed name is a model's"))
}

pub(crate) fn format_parser() -> impl TypedValueParser<Value = Format> {
    let names = Format::ALL.iter().map(|(_, name)| *name);
    PossibleValuesParser::new(names).map(|name| {
        let listed = Format::ALL.iter().find(|(_, known)| *known == name);
        listed.expect("a listed name is a format's").0
    })
}

pub(crate) fn promise(text: &str) -> Result<Promise, String> {
    let bounded = Consistency::STALE_BOUNDED;
    if let Some(bound) = text.strip_prefix(bounded).and_then(|rest| rest.strip_prefix('=')) {
        return duration(bound).map(Consistency::StaleBounded).map(Promise::Consistency);
    }
    if text == bounded {
        return Err(format!("say how stale a read may be: {bounded}=500ms"));
    }
    if let Some((promise, _)) = Consistency::NAMED.iter().find(|(_, name)| *name == text) {
        return Ok(Promise::Consistency(*promise));
    }
    if let Some(level) = Level::named(text) {
        return Ok(Promise::Level(level));
    }
    let mut names: Vec<&str> = Consistency::NAMED.iter().map(|(_, name)| *name).collect();
    names.push(bounded);
    let levels = Level::ALL.map(Level::name);
    let meant = nearest(text, names.iter().chain(&levels).copied());
    let meant = meant.map_or_else(String::new, |name| format!("did you mean {name}? "));
    let (names, levels) = (names.join(", "), levels.join(", "));
    Err(format!("{meant}one of {names}=DURATION, or of transactions {levels}"))
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| match error.help() {
        Some(help) => format!("{error}: {help}"),
        None => error.to_string(),
    })
}

pub(crate) fn size(text: &str) -> Result<u64, String> {
    parse_bytes(text).map_err(|error| match error.help() {
        Some(help) => format!("{error}: {help}"),
        None => error.to_string(),
    })
}

pub(crate) fn table(text: &str) -> Result<serde_json::Value, String> {
    explore::options(text)
}
