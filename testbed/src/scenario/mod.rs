//! Scenarios: a situation to put a cluster into, written by people in TOML.
//!
//! Every field may be missing but `name`; the defaults stand with the fields in `sections.rs`. Any
//! number may be a draw, `{ min = 0, max = 0.2 }` or `{ one_of = [3, 5, 7] }`, which each seed makes
//! for itself. A mistake is shown where it stands, with what to write instead, and one look finds
//! all of them that do not hide behind each other.
//!
//! ```
//! use seedbed_testbed::Seed;
//! use seedbed_testbed::scenario::Scenario;
//!
//! let text = r#"
//! name = "example"
//! [cluster]
//! nodes = { one_of = [3, 5] }
//! "#;
//! let scenario = Scenario::parse("example.toml", text, &["net.loss=0.1".to_owned()])?;
//! let plan = scenario.plan(Seed(7), None)?;
//! assert_eq!(plan.world.net.loss, 0.1);
//! # Ok::<(), seedbed_testbed::scenario::ScenarioError>(())
//! ```

mod aim;
mod check;
mod decode;
mod diagnostic;
pub(crate) mod draw;
pub(crate) mod fault;
pub(crate) mod latency;
mod names;
pub(crate) mod options;
mod rows;
pub(crate) mod scalar;
pub(crate) mod sections;
mod seeds;
mod set;

use std::path::Path;
use std::sync::Arc;

use contract::Seed;
use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

pub use diagnostic::{Diagnostic, ScenarioError, nearest, suggest};
pub use names::profiles;
pub use seeds::{Seeds, SeedsError};

use decode::Decode;
use diagnostic::{Problems, Sources, Span};
use fault::{FaultSpec, SwarmSpec};
use sections::File;

/// A scenario that holds together.
#[derive(Clone, Debug)]
pub struct Scenario {
    source: Source,
    /// For errors that only a seed brings to light.
    texts: Arc<Sources>,
    pub(crate) file: File,
    pub(crate) faults: Vec<FaultSpec>,
    pub(crate) swarm: Option<SwarmSpec>,
}

/// What a scenario was read from: enough to read it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file's name, as it was given.
    pub file: String,
    /// The file's content.
    pub text: String,
    /// The overrides, `path=value` each, in order.
    pub set: Vec<String>,
    /// Which of its rows it is, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
}

impl Scenario {
    /// Reads a file that holds one scenario.
    ///
    /// # Errors
    /// If it cannot be read, holds no scenario, or has rows.
    pub fn load(path: &Path, set: &[String]) -> Result<Self, ScenarioError> {
        Self::load_row(path, set, None)
    }

    /// Reads a row of a file, or with `None` a file without rows.
    ///
    /// # Errors
    /// If it cannot be read, holds no scenario, or none of that name.
    pub fn load_row(path: &Path, set: &[String], row: Option<&str>) -> Result<Self, ScenarioError> {
        let (file, text) = read(path)?;
        Self::parse_row(&file, &text, set, row)
    }

    /// Reads every scenario of a file: each of its rows, or what it is if it has none.
    ///
    /// # Errors
    /// If it cannot be read, or something in it is no scenario.
    pub fn load_all(path: &Path, set: &[String]) -> Result<Vec<Self>, ScenarioError> {
        let (file, text) = read(path)?;
        Self::parse_all(&file, &text, set)
    }

    /// Reads every scenario of a text, as [`Scenario::load_all`] does of a file.
    ///
    /// # Errors
    /// If something in it is no scenario.
    pub fn parse_all(file: &str, text: &str, set: &[String]) -> Result<Vec<Self>, ScenarioError> {
        let (root, _) = DeTable::parse_recoverable(text);
        // What is wrong with the names is told when a row is read.
        let names = rows::names(root.get_ref(), &mut Problems::default());
        if names.is_empty() {
            return Ok(vec![Self::parse(file, text, set)?]);
        }
        names.iter().map(|name| Self::parse_row(file, text, set, Some(name))).collect()
    }

    /// Reads a text; `file` is what errors call it. Each of `set` overrides one field, as in
    /// `net.loss=0.1` or, for a fault by its name, `fault.cut.at=4s`.
    ///
    /// # Errors
    /// If it is no scenario: all mistakes that can be found at once.
    pub fn parse(file: &str, text: &str, set: &[String]) -> Result<Self, ScenarioError> {
        Self::parse_row(file, text, set, None)
    }

    /// Reads a row of a text, as [`Scenario::parse`] reads the whole.
    ///
    /// # Errors
    /// If it is no scenario, or has no such row; if it has rows and none is named.
    pub fn parse_row(
        file: &str,
        text: &str,
        set: &[String],
        row: Option<&str>,
    ) -> Result<Self, ScenarioError> {
        let mut sources = Sources::new(file, text);
        let mut problems = Problems::default();
        let (mut root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            problems.add::<()>(error.span().unwrap_or(0..0), error.message());
        }
        let known = rows::names(root.get_ref(), &mut problems);
        match row {
            Some(row) => rows::apply(root.get_mut(), row, &mut problems),
            None if known.is_empty() => {}
            None => {
                let help = format!("name one, for example --row {}", known[0]);
                let message = format!("the scenario has {} rows, and none is named", known.len());
                problems.add_with_help::<()>(0..0, message, help);
            }
        }
        for text in set {
            let base = sources.add("--set", text);
            set::apply(root.get_mut(), text, base, &mut problems);
        }
        if !problems.is_empty() {
            // What a broken text means is a guess: its fields are not looked at.
            return Err(problems.into_error(&sources));
        }
        let root = toml::Spanned::new(0..0, DeValue::Table(root.into_inner()));
        let decoded = File::decode(&root, &mut problems);
        let faults = decoded.as_ref().map(|file| check::check(file, &mut problems));
        if let (Some(file), Some(options)) =
            (&decoded, root.get_ref().get("cluster").and_then(|c| c.get_ref().get("options")))
            && file.cluster.options.is_fixed()
        {
            options::check(file.cluster.protocol.text, options, &mut problems);
        }
        let (Some(decoded), Some((faults, swarm)), true) = (decoded, faults, problems.is_empty()) else {
            return Err(problems.into_error(&sources));
        };
        let row = row.map(str::to_owned);
        let source = Source { file: file.to_owned(), text: text.to_owned(), set: set.to_vec(), row };
        let scenario = Self { source, texts: Arc::new(sources), file: decoded, faults, swarm };
        // Options that are drawn can be judged only once they are.
        scenario.plan(Seed(0), None).map(|_| scenario)
    }

    /// What the scenario is called; of a row, with its name.
    pub fn name(&self) -> String {
        let name = &self.file.name.value;
        self.source.row.as_ref().map_or_else(|| name.clone(), |row| format!("{name}/{row}"))
    }

    /// One line about it, if it has one.
    pub fn about(&self) -> Option<&str> {
        self.file.about.as_deref()
    }

    /// What it was read from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn error_at(&self, span: &Span, message: &str) -> ScenarioError {
        let mut problems = Problems::default();
        problems.add::<()>(span.clone(), message);
        problems.into_error(&self.texts)
    }
}

fn read(path: &Path) -> Result<(String, String), ScenarioError> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((file, text)),
        Err(error) => Err(ScenarioError::Unreadable { path: file, cause: error.to_string() }),
    }
}

impl Source {
    /// Reads the scenario again.
    ///
    /// # Errors
    /// If this version of Seedbed no longer takes it for a scenario.
    pub fn parse(&self) -> Result<Scenario, ScenarioError> {
        Scenario::parse_row(&self.file, &self.text, &self.set, self.row.as_deref())
    }
}

/// What faults and workloads go by: a name of their own, or their kind and their number among the
/// nameless of that kind, counted from 1.
pub(crate) fn numbered<'a>(of: impl Iterator<Item = (Option<&'a str>, &'a str)>) -> Vec<String> {
    let mut kinds: Vec<&str> = Vec::new();
    of.map(|(name, kind)| {
        name.map(str::to_owned).unwrap_or_else(|| {
            kinds.push(kind);
            let number = kinds.iter().filter(|other| **other == kind).count();
            format!("{kind}-{number}")
        })
    })
    .collect()
}

/// The JSON schema of scenario files, for editors.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(File).to_value();
    schema["title"] = "Seedbed scenario".into();
    relax(&mut schema);
    schema
}

/// A field that has a default is not required, which its type alone does not tell.
fn relax(schema: &mut serde_json::Value) {
    let properties = schema.get("properties").cloned().unwrap_or_default();
    if let Some(required) = schema.get_mut("required").and_then(|required| required.as_array_mut()) {
        required.retain(|key| {
            let property = key.as_str().and_then(|key| properties.get(key));
            property.is_none_or(|property| property.get("default").is_none())
        });
    }
    let children = match schema {
        serde_json::Value::Object(fields) => fields.values_mut().collect::<Vec<_>>(),
        serde_json::Value::Array(items) => items.iter_mut().collect(),
        _ => return,
    };
    children.into_iter().for_each(relax);
}
