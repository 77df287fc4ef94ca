//! `--set path=value`: one field of a scenario from the command line.
//!
//! An override is put into the tree before it is decoded, with its own place. So a path that leads
//! nowhere and a value that does not fit are found by the same decoders, and point at the override.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::decode::Node;
use super::diagnostic::{Problems, Span, suggest};
use super::numbered;

/// Puts `text`, whose first byte is at position `base`, into the tree.
pub(super) fn apply<'i>(root: &mut DeTable<'i>, text: &'i str, base: usize, problems: &mut Problems) {
    let Some((path, value_text)) = text.split_once('=') else {
        let help = "write it as --set net.loss=0.1";
        problems.add_with_help::<()>(base..base + text.len(), "an override is a path, `=` and a value", help);
        return;
    };
    let mut steps = Vec::new();
    let mut start = base;
    for step in path.split('.') {
        steps.push((Cow::Borrowed(step.trim()), start..start + step.len()));
        start += step.len() + 1;
    }
    let value_base = base + text.len() - value_text.trim_start().len();
    let place = |span: Span| span.start + value_base..span.end + value_base;
    match value(value_text) {
        Ok(value) => put(root, &steps, respan(value, &place), problems),
        Err(error) => {
            let at = error.span().unwrap_or(0..value_text.trim().len());
            problems.add::<()>(place(at), error.message());
        }
    }
}

/// Puts a value where a path leads.
pub(super) fn put<'i>(
    table: &mut DeTable<'i>,
    steps: &[(Cow<'i, str>, Span)],
    value: Node<'i>,
    problems: &mut Problems,
) {
    let ((name, span), rest) = steps.split_first().expect("a path has a step");
    if name.is_empty() {
        problems.add::<()>(span.clone(), "a path is made of names with dots between them");
        return;
    }
    let old_key = table.keys().find(|key| key.get_ref() == name).cloned();
    if rest.is_empty() {
        // The old key keeps its place in the file; the new one brings the override's.
        if let Some(old_key) = old_key {
            table.remove(&old_key);
        }
        table.insert(Spanned::new(span.clone(), name.clone()), value);
        return;
    }
    let key = old_key.unwrap_or_else(|| Spanned::new(span.clone(), name.clone()));
    let below = table.entry(key).or_insert_with(|| {
        let whole = span.start..rest.last().map_or(span.end, |(_, last)| last.end);
        Spanned::new(whole, DeValue::Table(DeTable::new()))
    });
    match below.get_mut() {
        DeValue::Table(table) => put(table, rest, value, problems),
        DeValue::Array(array) => {
            if let Some(element) = element(array, name, &rest[0], problems) {
                match &rest[1..] {
                    [] => {
                        let message = format!("say which field of the {name} to set");
                        let help = format!("for example --set {name}.{}.kind=…", rest[0].0);
                        problems.add_with_help::<()>(rest[0].1.clone(), message, help);
                    }
                    steps => put(element, steps, value, problems),
                }
            }
        }
        _ => {
            problems.add::<()>(rest[0].1.clone(), format!("`{name}` has no fields"));
        }
    }
}

/// The element of `[[fault]]` or `[[workload]]` that goes by a name.
fn element<'a, 'i>(
    array: &'a mut DeArray<'i>,
    of: &str,
    (name, span): &(Cow<'_, str>, Span),
    problems: &mut Problems,
) -> Option<&'a mut DeTable<'i>> {
    fn text<'n>(node: &'n Node<'_>, key: &str) -> Option<&'n str> {
        node.get_ref().get(key)?.get_ref().as_str()
    }
    let default_kind = if of == "workload" { "kv" } else { of };
    let names =
        numbered(array.iter().map(|node| (text(node, "name"), text(node, "kind").unwrap_or(default_kind))));
    let Some(place) = names.iter().position(|candidate| *candidate == **name) else {
        let help = suggest(name, names.iter().map(String::as_str));
        return problems.add_with_help(span.clone(), format!("no {of} is named `{name}`"), help);
    };
    match array.get_mut(place)?.get_mut() {
        DeValue::Table(table) => Some(table),
        // The decoder says what should stand here.
        _ => None,
    }
}

/// A value from a command line: TOML, or else a bare word that is taken as a string.
///
/// # Errors
/// If it begins like a list, a table or a string and is none.
pub(super) fn value(text: &str) -> Result<Node<'_>, toml::de::Error> {
    let text = text.trim();
    DeValue::parse(text).or_else(|error| match text.chars().next() {
        Some('{' | '[' | '"' | '\'') => Err(error),
        _ => Ok(Spanned::new(0..text.len(), DeValue::String(Cow::Borrowed(text)))),
    })
}

/// The value of a default's text.
pub(super) fn default(text: &'static str) -> Node<'static> {
    value(text).expect("defaults are well-formed")
}

/// The same value in another place.
pub(super) fn respan<'i>(node: Node<'i>, place: &impl Fn(Range<usize>) -> Span) -> Node<'i> {
    let span = place(node.span());
    let value = match node.into_inner() {
        DeValue::Array(items) => DeValue::Array(items.into_iter().map(|item| respan(item, place)).collect()),
        DeValue::Table(table) => {
            let moved = table.into_iter().map(|(key, value)| {
                (Spanned::new(place(key.span()), key.into_inner()), respan(value, place))
            });
            DeValue::Table(moved.collect())
        }
        scalar => scalar,
    };
    Spanned::new(span, value)
}

/// A default text as JSON, for the schema.
pub(super) fn json(text: &'static str) -> serde_json::Value {
    let value: toml::Value =
        serde::Deserialize::deserialize(toml::de::ValueDeserializer::from(default(text)))
            .expect("defaults are TOML values");
    serde_json::to_value(value).expect("a default is plain data")
}
