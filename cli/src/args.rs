//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};
use testbed::Bug;
use testbed::checker::formats::Format;
use testbed::checker::isolation::Level;
use testbed::checker::models::AnyModel;
use testbed::checker::{Budget, Consistency};
use testbed::compare::Axis;
use testbed::explore::Bounds;
use testbed::scenario::Seeds;

use crate::commands::compare;
use crate::values::{
    bug_parser, duration, format_parser, model_parser, promise, protocol_parser, size, table,
};

/// Deterministic simulation testbed for distributed protocols.
#[derive(Debug, Parser)]
#[command(name = "seedbed", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0   all that was asked for holds
  1   a violation
  2   bad input or usage
  3   inconclusive: a checker or a budget ran out
  4   not deterministic, or a replay that diverged
  70  a bug of Seedbed's own
  75  interrupted; it can be gone on with";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a scenario with one seed
    Run(RunArgs),
    /// Run scenarios with many seeds on all cores
    Sweep(SweepArgs),
    /// Run saved failures again and compare verdict and digest
    Replay(ReplayArgs),
    /// Find the smallest plan that still fails in the same way
    Shrink(ShrinkArgs),
    /// Run variants of a scenario under the same faults and clients, and tell how they differ
    Compare(CompareArgs),
    /// Look at every state that a protocol can come to within bounds
    Explore(ExploreArgs),
    /// Judge histories that were recorded elsewhere, or by `run --history`
    Check(CheckArgs),
    /// Work with recorded histories
    #[command(subcommand)]
    History(HistoryCommand),
    /// Look into the files of stores
    #[command(subcommand)]
    Storage(StorageCommand),
    /// List what scenarios and options can name
    List(ListArgs),
    /// Print the JSON schema of scenario files, for editors
    Schema,
}

/// What makes a scenario another one.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Changes {
    /// Override one field of the scenario: net.loss=0.1, or a fault by its name: fault.cut.at=4s
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Plant a known bug; `seedbed list bugs` shows them
    #[arg(long, value_name = "NAME", value_parser = bug_parser())]
    pub(crate) bug: Option<Bug>,
    /// Which row of the scenario, if it has any; a sweep takes all by default
    #[arg(long, value_name = "NAME")]
    pub(crate) row: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// The scenario file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) scenario: PathBuf,
    /// What every random choice is drawn from
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) changes: Changes,
    /// Write every event of the run to a file, one per line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) trace: Option<PathBuf>,
    /// Write what the clients saw to a file that `check` reads, one event per line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) history: Option<PathBuf>,
    /// Print one JSON document on stdout; text for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("extent").required(true).multiple(true).args(["seeds", "time"]))]
pub(crate) struct SweepArgs {
    /// The scenario files; each is run with every seed
    #[arg(required = true, value_name = "SCENARIO", value_hint = ValueHint::FilePath)]
    pub(crate) scenarios: Vec<PathBuf>,
    /// Which seeds: 0..10000, 5.. without an end, one number, or 10000@TEXT for seeds that look random
    /// and are a function of the text
    #[arg(long, value_name = "A..B")]
    pub(crate) seeds: Option<Seeds>,
    /// How long; with --seeds, until either is over, else from seed 0 on
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    #[command(flatten)]
    pub(crate) changes: Changes,
    /// How many runs at once; as many as there are cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Stop when so many different findings were made; failures of one signature are one finding
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_failures: u32,
    /// Exit with 3 if a situation that the scenario's `check.sometimes` names was not reached
    #[arg(long)]
    pub(crate) require_sometimes: bool,
    /// Where failures are saved as replays
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
    /// Print one JSON document on stdout; text for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CompareArgs {
    /// The scenario file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) scenario: PathBuf,
    /// A field and its values: cluster.protocol=raft,zab; several of them make a matrix
    #[arg(long, required = true, value_name = "KEY=V1,V2", value_parser = compare::axis)]
    pub(crate) vary: Vec<Axis>,
    /// Which seeds: 0..100
    #[arg(long, value_name = "A..B", default_value = "0..100", value_parser = compare::bounded)]
    pub(crate) seeds: Seeds,
    #[command(flatten)]
    pub(crate) changes: Changes,
    /// How many runs at once; as many as there are cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Write every figure of every run to a file, one run per line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) csv: Option<PathBuf>,
    /// Print one JSON document on stdout; text for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReplayArgs {
    /// The replays
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Write every event of the run to a file, one per line; of one replay
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) trace: Option<PathBuf>,
    /// Compare with a trace that another Seedbed wrote of the same replay
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) against: Option<PathBuf>,
    /// Print one JSON document on stdout; text for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExploreArgs {
    /// The protocol; `seedbed list protocols` has them
    #[arg(value_parser = protocol_parser())]
    pub(crate) protocol: String,
    #[command(flatten, next_help_heading = "Bounds")]
    pub(crate) bounds: BoundArgs,
    /// The protocol's options, as in a scenario: '{ pre-vote = false }'
    #[arg(long, value_name = "TABLE", default_value = "{}", value_parser = table)]
    pub(crate) options: serde_json::Value,
    /// Plant a known bug; `seedbed list bugs` shows them
    #[arg(long, value_name = "NAME", value_parser = bug_parser())]
    pub(crate) bug: Option<Bug>,
    /// In which order states are looked at; a shortest counterexample is found by breadth alone
    #[arg(long, value_name = "ORDER", default_value = "breadth")]
    pub(crate) order: SearchOrder,
    /// How many threads search; with more than one the order is kept only roughly
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: u16,
    /// How long to search, at the most
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    /// How much memory to use, at the most
    #[arg(long, value_name = "SIZE", default_value = "16GiB", value_parser = size)]
    pub(crate) memory: u64,
    /// Where to save a counterexample, which `replay` runs again
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    /// Serve stateright's Explorer at this address instead, such as localhost:3000
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["time", "out", "json"])]
    pub(crate) serve: Option<String>,
    /// Print one JSON document on stdout; text for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

/// How far to explore. What happens is counted over all nodes.
#[derive(Debug, ClapArgs)]
pub(crate) struct BoundArgs {
    /// Nodes, all of them voters
    #[arg(long, value_name = "N", default_value_t = Bounds::default().nodes)]
    pub(crate) nodes: u16,
    /// The highest epoch: Raft's term, a ballot's number
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<u64>,
    /// How many actions deep
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<u16>,
    /// Clients that write, each once
    #[arg(long, value_name = "N", default_value_t = Bounds::default().writes)]
    pub(crate) writes: u8,
    /// Clients that read, each once
    #[arg(long, value_name = "N", default_value_t = Bounds::default().reads)]
    pub(crate) reads: u8,
    /// Timers that fire
    #[arg(long, value_name = "N", default_value_t = Bounds::default().timers)]
    pub(crate) timers: u8,
    /// Crashes, each with a restart from what is durable
    #[arg(long, value_name = "N", default_value_t = Bounds::default().crashes)]
    pub(crate) crashes: u8,
    /// How often something else happens to a node while a write of its is under way
    #[arg(long, value_name = "N", default_value_t = Bounds::default().overtakes)]
    pub(crate) overtakes: u8,
    /// Datagrams that arrive twice
    #[arg(long, value_name = "N", default_value_t = Bounds::default().duplicates)]
    pub(crate) duplicates: u8,
    /// Connections that break, of a protocol on streams
    #[arg(long, value_name = "N", default_value_t = Bounds::default().disconnects)]
    pub(crate) disconnects: u8,
    /// Times that a service's state becomes durable, so that the log before it may go
    #[arg(long, value_name = "N", default_value_t = Bounds::default().flushes)]
    pub(crate) flushes: u8,
    /// Requests that are sent again though the answer may yet come
    #[arg(long, value_name = "N", default_value_t = Bounds::default().retries)]
    pub(crate) retries: u8,
    /// Nodes that found the group, the first ones [default: all]: the others may be added
    #[arg(long, value_name = "N")]
    pub(crate) founders: Option<u16>,
    /// Nodes that clients ask, the first ones [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) asked: Option<u16>,
    /// What an operator asks of some node, once: campaign, compact, transfer=NODE, reconfigure=NODE,NODE
    #[arg(long, value_name = "CONTROL", value_parser = testbed::explore::control)]
    pub(crate) control: Vec<testbed::Control>,
    /// Let the service take its time: applying, reading and installing become actions of their own
    #[arg(long)]
    pub(crate) slow_service: bool,
    /// The protocol treats its nodes alike, whatever their numbers: they do what they do first in that order
    #[arg(long)]
    pub(crate) symmetric: bool,
    /// The size of one part of a snapshot
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = size)]
    pub(crate) chunk: u64,
}

/// The order of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SearchOrder {
    /// Nearest states first
    Breadth,
    /// Each way to its end: takes the least memory
    Depth,
}

/// How a file is to be read.
#[derive(Debug, ClapArgs)]
pub(crate) struct Reading {
    /// The object that the history is one of; needed if the history does not tell it. `seedbed list
    /// models` has their operations
    #[arg(long, value_name = "NAME", value_parser = model_parser())]
    pub(crate) model: Option<AnyModel>,
    /// How it is written; told by the file's name or content by default
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub(crate) format: Option<Format>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CheckArgs {
    /// The histories
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: Reading,
    /// What the service promises: linearizable (default), sequential, monotonic-reads, monotonic-writes,
    /// read-your-writes, writes-follow-reads, or stale-bounded=DURATION; of transactions
    /// strict-serializable (default), serializable, repeatable-read, strong-snapshot-isolation,
    /// strong-session-snapshot-isolation, snapshot-isolation, read-committed or read-uncommitted
    #[arg(long, value_name = "PROMISE", value_parser = promise)]
    pub(crate) consistency: Option<Promise>,
    /// How many steps a verdict may cost; with fewer than it needs a history is inconclusive
    #[arg(long, value_name = "N", default_value_t = Budget::default().steps)]
    pub(crate) steps: u64,
    /// Print one JSON document on stdout; text for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a service can promise.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Promise {
    /// Of operations that take effect one at a time.
    Consistency(Consistency),
    /// Of transactions.
    Level(Level),
}

#[derive(Debug, Subcommand)]
pub(crate) enum HistoryCommand {
    /// Write a history in another format
    Convert(ConvertArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    /// Read every store in and below folders, and check all that can be checked
    Verify(VerifyArgs),
    /// Print what is in files of a store
    Dump(DumpArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    /// The folders
    #[arg(required = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folders: Vec<PathBuf>,
    /// Print one JSON document on stdout; text for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DumpArgs {
    /// The files
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Print one JSON document on stdout; text for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConvertArgs {
    /// The history
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// How to write it
    #[arg(long)]
    pub(crate) to: Target,
    #[command(flatten)]
    pub(crate) reading: Reading,
    /// Where to; stdout by default
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
}

/// How a history can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Seedbed's own format
    Jsonl,
    /// Jepsen's history.edn
    Edn,
    /// What porcupine's viewer shows
    Porcupine,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShrinkArgs {
    /// A replay, or a scenario whose seed fails
    #[arg(value_name = "REPLAY|SCENARIO", value_hint = ValueHint::FilePath)]
    pub(crate) target: PathBuf,
    /// The seed, of a scenario
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) changes: Changes,
    /// How many runs at once; as many as there are cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Where to save the small replay; beside the large one, or in runs/
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON document on stdout; text for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    /// What to list; everything by default
    pub(crate) what: Option<Topic>,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Topic {
    Protocols,
    Engines,
    Faults,
    Conditions,
    Situations,
    Workloads,
    Checks,
    Models,
    Monitors,
    Profiles,
    Bugs,
}
