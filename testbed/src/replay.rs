//! Replays: a run that failed, kept so that it can be run again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sim::Digest;

use crate::explore::Trace;
use crate::plan::Plan;
use crate::registry;
use crate::report::{Fired, Report, Verdict};
use crate::run::RunOptions;
use crate::scenario::Source;
use crate::trail::{Recorder, Trail};

/// The format that this version writes, and the only one that it reads.
pub const FORMAT: u32 = 2;

/// A run that can be run again, and what it came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of Seedbed that wrote it.
    pub seedbed: String,
    /// What the plan was made from.
    pub scenario: Source,
    /// What was run.
    pub plan: Plan,
    /// What it came to.
    pub verdict: Verdict,
    /// Covers every event of the run.
    pub digest: Digest,
    /// The faults that fired, in order.
    pub fired: Vec<Fired>,
    /// By which a run that comes out differently finds where it does.
    #[serde(default)]
    pub trail: Trail,
}

/// A replay that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The operating system refused.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: String,
        /// What it said.
        cause: std::io::Error,
    },
    /// The text ends in the middle.
    #[error(
        "{path}: the file ends at line {line}, column {column}, in the middle of a replay: it was cut off"
    )]
    Truncated {
        /// The file.
        path: String,
        /// Where it ends, counted from 1.
        line: usize,
        /// Where it ends, counted from 1.
        column: usize,
    },
    /// The text is no replay.
    #[error("{path}:{line}:{column}: not a replay: {cause}")]
    NotAReplay {
        /// The file.
        path: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What stands there.
        cause: String,
    },
    /// The text is a replay of something that this version does not have.
    #[error("{path}: {what} `{name}` is not known to Seedbed {}; replay it with {seedbed}", env!("CARGO_PKG_VERSION"))]
    UnknownName {
        /// The file.
        path: String,
        /// What the name would stand for.
        what: &'static str,
        /// The name.
        name: String,
        /// What wrote it.
        seedbed: String,
    },
    /// The protocol does not take the plan's options: they were changed by hand, or the protocol was.
    #[error("{path}: the options of {protocol} cannot be used: {cause}")]
    Options {
        /// The file.
        path: String,
        /// The protocol.
        protocol: String,
        /// What it said.
        cause: String,
    },
    /// The text is the counterexample of an exploration, where a run was wanted.
    #[error(
        "{path}: the counterexample of an exploration, which is no run; `seedbed replay` carries it out again"
    )]
    NotARun {
        /// The file.
        path: String,
    },
    /// The text is a replay of another format.
    #[error(
        "{path}: written by Seedbed {seedbed} in replay format {found}, and this is Seedbed {} with format {FORMAT}; \
         run its scenario and seed again, or replay it with that version",
        env!("CARGO_PKG_VERSION")
    )]
    OtherFormat {
        /// The file.
        path: String,
        /// Its format.
        found: u32,
        /// What wrote it.
        seedbed: String,
    },
}

impl Replay {
    /// A replay of this version's format.
    pub fn new(scenario: Source, plan: Plan, report: &Report, trail: Trail) -> Self {
        let seedbed = env!("CARGO_PKG_VERSION").to_owned();
        let (verdict, digest, fired) = (report.verdict.clone(), report.digest, report.fired.clone());
        Self { format: FORMAT, seedbed, scenario, plan, verdict, digest, fired, trail }
    }

    /// Runs a plan once more to make a replay of it.
    pub fn record(scenario: Source, plan: Plan) -> Self {
        let recorder = Recorder::default();
        let options = RunOptions { trace: Some(recorder.sink()), ..RunOptions::default() };
        let report = registry::run(&plan, options).report;
        Self::new(scenario, plan, &report, recorder.trail())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is cut off, is no replay of a run, or is one of another format.
    pub fn load(path: &Path) -> Result<Self, ReplayError> {
        match Saved::load(path)? {
            Saved::Run(replay) => Ok(*replay),
            Saved::Exploration(_) => Err(ReplayError::NotARun { path: path.display().to_string() }),
        }
    }

    fn parse(name: &str, text: &str) -> Result<Self, ReplayError> {
        let replay: Self = serde_json::from_str(text).map_err(|error| refuse(name, &error))?;
        if let Some((what, unknown)) = replay.unknown_name() {
            return Err(ReplayError::UnknownName {
                path: name.to_owned(),
                what,
                name: unknown,
                seedbed: replay.seedbed,
            });
        }
        let Plan { protocol, options, .. } = &replay.plan;
        match registry::check_options(protocol, options, Some(replay.plan.founders().voters.len())) {
            Ok(()) => Ok(replay),
            Err(cause) => {
                Err(ReplayError::Options { path: name.to_owned(), protocol: protocol.clone(), cause })
            }
        }
    }

    /// A name in the plan that is not registered.
    fn unknown_name(&self) -> Option<(&'static str, String)> {
        let plan = &self.plan;
        let protocols = registry::protocols();
        let workloads =
            plan.workloads.iter().map(|workload| ("workload", registry::WORKLOADS, &workload.kind));
        let monitors = plan.checks.monitors.iter().map(|name| ("monitor", registry::MONITORS, name));
        let single = [
            ("protocol", protocols.as_slice(), &plan.protocol),
            ("engine", registry::ENGINES, &plan.engine),
            ("history check", registry::HISTORY_CHECKS, &plan.checks.history),
        ];
        let mut names = single.into_iter().chain(workloads).chain(monitors);
        let unknown = names.find(|(_, table, name)| !table.iter().any(|known| known.name == **name))?;
        Some((unknown.0, unknown.2.clone()))
    }

    /// Writes the file, or leaves what was there.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn save(&self, path: &Path) -> Result<(), ReplayError> {
        save(path, &self.to_json())
    }

    fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("a replay is plain data") + "\n";
        let again: Self = serde_json::from_str(&text).expect("what was just written");
        assert_eq!(again.plan, self.plan, "a plan comes back from its text as it went in");
        text
    }
}

/// What a file holds that can be carried out again.
#[derive(Clone, Debug, PartialEq)]
pub enum Saved {
    /// A run.
    Run(Box<Replay>),
    /// The counterexample of an exploration.
    Exploration(Box<Trace>),
}

impl Saved {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is cut off, is neither, or is of another format.
    pub fn load(path: &Path) -> Result<Self, ReplayError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|cause| ReplayError::Io { path: name.clone(), cause })?;
        // The format first: what another one looks like is not known.
        let header: Header = serde_json::from_str(&text).map_err(|error| refuse(&name, &error))?;
        if header.format != FORMAT {
            let (found, seedbed) = (header.format, header.seedbed);
            return Err(ReplayError::OtherFormat { path: name, found, seedbed });
        }
        match header.kind {
            Kind::Run => Ok(Self::Run(Box::new(Replay::parse(&name, &text)?))),
            Kind::Exploration => {
                let trace: Trace = serde_json::from_str(&text).map_err(|error| refuse(&name, &error))?;
                Ok(Self::Exploration(Box::new(trace)))
            }
        }
    }
}

/// What a file says of itself.
#[derive(Deserialize)]
struct Header {
    format: u32,
    #[serde(default)]
    seedbed: String,
    #[serde(default)]
    kind: Kind,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    #[default]
    Run,
    Exploration,
}

fn refuse(name: &str, error: &serde_json::Error) -> ReplayError {
    let (path, line, column) = (name.to_owned(), error.line(), error.column());
    if error.is_eof() {
        return ReplayError::Truncated { path, line, column };
    }
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    let cause = text.strip_suffix(&place).unwrap_or(&text).to_owned();
    ReplayError::NotAReplay { path, line, column, cause }
}

/// Writes a file, or leaves what was there: it is written beside it, flushed and renamed.
pub(crate) fn save(path: &Path, text: &str) -> Result<(), ReplayError> {
    let refuse = |cause| ReplayError::Io { path: path.display().to_string(), cause };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(refuse)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    let write = || {
        let mut file = fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(refuse)
}
