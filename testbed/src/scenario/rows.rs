//! Variants of a scenario: `[[row]]`. Each is the scenario with some fields overridden, and expectations of
//! its own; the tree is changed before it is decoded, as `--set` changes it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::decode::{Decode, Node, mismatch};
use super::diagnostic::{Problems, Span, suggest};
use super::set;

/// The fields that a row overrides. What they are is looked at when they are put in their places.
#[derive(Clone, Debug)]
pub(crate) struct Overrides;

impl Decode for Overrides {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => Some(Self),
            _ => mismatch(node, "a table such as { \"net.loss\" = 0.1 }", problems),
        }
    }
}

impl JsonSchema for Overrides {
    fn schema_name() -> Cow<'static, str> {
        "Overrides".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "Fields by their paths, as in --set.", "type": "object"})
    }
}

fn field<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<&'a Node<'i>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, node)| node)
}

fn rows<'a, 'i>(root: &'a DeTable<'i>) -> impl Iterator<Item = &'a DeTable<'i>> {
    let rows = field(root, "row").and_then(|node| node.get_ref().as_array());
    rows.into_iter().flatten().filter_map(|row| row.get_ref().as_table())
}

fn name_of(row: &DeTable<'_>) -> Option<(String, Span)> {
    let node = field(row, "name")?;
    Some((node.get_ref().as_str()?.to_owned(), node.span()))
}

/// The names of the rows, in their order. Names that stand twice are noted.
pub(super) fn names(root: &DeTable<'_>, problems: &mut Problems) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, span) in rows(root).filter_map(name_of) {
        let allowed = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(allowed) {
            let help = "names are made of letters, digits, `-` and `_`";
            problems.add_with_help::<()>(span, format!("`{name}` cannot be a row's name"), help);
        } else if names.contains(&name) {
            problems.add::<()>(span, format!("another row is named `{name}` too"));
        }
        names.push(name);
    }
    names
}

/// Makes the tree that of a row.
pub(super) fn apply(root: &mut DeTable<'_>, name: &str, problems: &mut Problems) {
    let Some(row) = rows(root).find(|row| name_of(row).is_some_and(|(known, _)| known == name)).cloned()
    else {
        let names = names(root, problems);
        let help = suggest(name, names.iter().map(String::as_str));
        problems.add_with_help::<()>(0..0, format!("no row is named `{name}`"), help);
        return;
    };
    if let Some(DeValue::Table(overrides)) = field(&row, "set").map(Spanned::get_ref) {
        for (path, value) in overrides {
            let steps = path.get_ref().split('.').map(|step| (Cow::Owned(step.to_owned()), path.span()));
            set::put(root, &steps.collect::<Vec<_>>(), value.clone(), problems);
        }
    }
    if let Some(node) = field(&row, "expect")
        && let DeValue::Array(more) = node.get_ref()
    {
        let key = root.keys().find(|key| key.get_ref() == "expect").cloned();
        let key = key.unwrap_or_else(|| Spanned::new(node.span(), Cow::Borrowed("expect")));
        let all =
            root.entry(key).or_insert_with(|| Spanned::new(node.span(), DeValue::Array(Default::default())));
        if let DeValue::Array(all) = all.get_mut() {
            more.iter().for_each(|expected| all.push(expected.clone()));
        }
    }
}
