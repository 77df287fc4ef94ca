//! Percolator's shards and scheduler as scripts: each file in a folder of `testscripts/percolator` is a case.
//! To write their outputs anew: `UPDATE_GOLDENFILES=1 cargo test`, then read them.
//!
//! Groups are services over stores in memory: what is asked of one is applied at once. A request goes to
//! the group and the version that the map says for its first key, unless it names others.
//!
//! | Command | Does |
//! |---|---|
//! | `cluster [groups=N] [cuts=G,P] [bug=NAME]` | starts a scheduler and N shards (1) that hold the regions between the cuts in turn |
//! | `clock MICROSECONDS` | when requests are proposed from now on |
//! | `restart` | every process loses its memory |
//! | `state [GROUP]` | what stands in the stores |
//! | `count` | how many pairs of each kind stand there |
//! | `get KEY AT [noted]`, `scan AT [FROM [TO]] [limit=N] [noted]` | reads |
//! | `prewrite START KEY=VALUE… [delete=KEY] [lock=KEY] [primary=KEY] [ttl=N] [for-update=T] [with=B,C] [async] [one-phase]` | the first phase; the primary is the first key by default |
//! | `commit START COMMIT KEY…`, `rollback START KEY…` | the second, or none |
//! | `check-status PRIMARY START`, `check-secondaries START KEY…`, `resolve START KEY… [commit=T]` | for who meets a lock |
//! | `heartbeat PRIMARY START TTL`, `acquire START FOR-UPDATE KEY… [primary=KEY] [ttl=N]`, `abandon START FOR-UPDATE KEY…` | locks |
//! | `collect SAFEPOINT [group=N]` | garbage, on every shard or on one |
//! | … `[group=N] [version=N]` | whom any of these asks, and which version it names |
//! | `timestamps COUNT`, `regions`, `split AT TO`, `moved START VERSION` | of the scheduler |
//! | `sizes GROUP` | what a group holds |
//! | `report GROUP`, `report GROUP [FROM..TO=PAIRS…] version=N` | tells the scheduler so, or something else |
//! | `reports` | what the scheduler keeps of that |
//! | `balance [TOLERANCE]` | begins a move if loads are further apart (0) |
//! | `largest PAIRS` | the largest region, if it has more, and who holds least |
//! | `alive SERVER…`, `leads SERVER GROUP EPOCH [or=SERVERS]` | what servers tell of themselves, and of what they lead; servers 1 to 3 could do so, too |
//! | `freeze GROUP VERSION [FROM [TO]]`, `install …`, `release …` | the steps of a move; `install` brings what the last `freeze` of that version told |
//! | `move` | all steps of all moves that are due |
//! | `begin T`, `read T KEY`, `select T [FROM [TO]]`, `put T KEY VALUE`, `remove T KEY`, `finish T`, `give-up T` | a client's transaction; `read` and `select` see what others have committed |
//! | `finish T until=STEP` | stops before `primary` or `secondaries` are committed, or never hears of the former (`unheard`) |

mod client;
mod random;
#[path = "../random/splitmix.rs"]
mod splitmix;
mod store;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use client::Transaction;
use contract::{Bug, Bugs, Bytes, Epoch, GroupId, NodeId, Time};
use goldenscript::{Argument, Context};
use seedbed_protocols::percolator::{
    Content, Held, Mutation, MutationKind, Op, Prewrite, Region, Ret, SCHEDULER, SchedulerOp, ShardOp, Span,
    Timestamp,
};
use store::Group;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[derive(Default)]
pub(crate) struct Script {
    groups: BTreeMap<GroupId, Group>,
    clock: Time,
    /// What was frozen, by version.
    frozen: BTreeMap<u64, Content>,
    transactions: BTreeMap<String, Transaction>,
    output: String,
}

/// A command's arguments.
struct Arguments {
    texts: Vec<String>,
    pairs: Vec<(String, String)>,
}

impl Arguments {
    fn of(command: &goldenscript::Command) -> Self {
        let (mut texts, mut pairs) = (Vec::new(), Vec::new());
        for argument in &command.args {
            match argument {
                Argument::KeyValue(key, value) => pairs.push((key.clone(), value.clone())),
                other => texts.push(other.to_string().trim_matches('"').to_owned()),
            }
        }
        Self { texts, pairs }
    }

    /// An option, which is used up.
    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(key, _)| key == name)?;
        Some(self.pairs.remove(at).1)
    }

    fn take_number(&mut self, name: &str) -> Outcome<Option<u64>> {
        Ok(self.take(name).map(|text| text.parse()).transpose()?)
    }

    fn take_flag(&mut self, name: &str) -> bool {
        let before = self.texts.len();
        self.texts.retain(|text| text != name);
        self.texts.len() < before
    }

    fn text(&self, at: usize) -> Outcome<&str> {
        Ok(self.texts.get(at).ok_or_else(|| format!("argument {} is missing", at + 1))?)
    }

    fn number(&self, at: usize) -> Outcome<u64> {
        Ok(self.text(at)?.parse()?)
    }

    fn timestamp(&self, at: usize) -> Outcome<Timestamp> {
        Ok(if self.text(at)? == "max" { Timestamp::MAX } else { Timestamp(self.number(at)?) })
    }

    fn key(&self, at: usize) -> Outcome<Bytes> {
        Ok(self.text(at)?.into())
    }

    fn keys(&self, from: usize) -> Vec<Bytes> {
        self.texts.iter().skip(from).map(|text| text.as_str().into()).collect()
    }

    fn span(&self, from: usize) -> Span {
        let key = |at: usize| self.texts.get(at).map(|text| Bytes::from(text.as_str()));
        Span { start: key(from).unwrap_or_default(), end: key(from + 1) }
    }
}

impl Script {
    fn start(&mut self, mut arguments: Arguments) -> Outcome {
        let bugs = Bugs(arguments.take("bug").map(|name| name.parse()).transpose()?);
        let groups = u32::try_from(arguments.take_number("groups")?.unwrap_or(1))?;
        let cuts = arguments.take("cuts").unwrap_or_default();
        let cuts: Vec<Bytes> = cuts.split(',').filter(|cut| !cut.is_empty()).map(Bytes::from).collect();
        let mut founding = Vec::new();
        let mut start = Bytes::default();
        for (end, group) in cuts.into_iter().map(Some).chain([None]).zip((1..=groups).cycle()) {
            let span = Span { start: start.clone(), end: end.clone() };
            founding.push(Region { span, version: 1, group: GroupId(group), moving_from: None });
            start = end.unwrap_or_default();
        }
        let group = |id| (GroupId(id), Group::new(bugs, GroupId(id), &founding));
        *self = Self { groups: (0..=groups).map(group).collect(), ..Self::default() };
        Ok(())
    }

    pub(crate) fn say(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.output, "{line}");
    }

    /// Asks a group, and shows what it answers.
    pub(crate) fn ask(&mut self, group: GroupId, op: Op) -> Ret {
        let clock = self.clock;
        let answer = self.groups.get_mut(&group).expect("the cluster has that group").ask(&op, clock);
        self.say(format_args!("{group} {op}: {answer}"));
        answer
    }

    pub(crate) fn regions(&mut self) -> Vec<Region> {
        let scheduler = self.groups.get_mut(&SCHEDULER).expect("there is a scheduler");
        match scheduler.ask(&Op::Scheduler(SchedulerOp::Regions), self.clock) {
            Ret::Regions(regions) => regions,
            other => panic!("the scheduler does not tell regions but {other}"),
        }
    }

    /// Asks whoever holds a key.
    pub(crate) fn ask_shard(&mut self, key: &[u8], op: ShardOp) -> Ret {
        let regions = self.regions();
        let region =
            regions.iter().find(|region| region.span.contains(key)).expect("every key is in the map");
        self.ask(region.group, Op::Shard { version: region.version, op })
    }

    /// Does with the regions that move what is left to do.
    fn finish_moves(&mut self) {
        for region in self.regions() {
            let Some(from) = region.moving_from else { continue };
            let Region { span, version, group, .. } = region;
            let shard = |op| Op::Shard { version, op };
            let freeze = ShardOp::Freeze { span: span.clone(), version };
            if let Ret::Content(content) = self.ask(from, shard(freeze)) {
                self.ask(group, shard(ShardOp::Install { span: span.clone(), version, content }));
            }
            let start = span.start.clone();
            self.ask(SCHEDULER, Op::Scheduler(SchedulerOp::Moved { start, version }));
            self.ask(from, shard(ShardOp::Release { span, version }));
        }
    }

    fn shard_op(&mut self, name: &str, arguments: &mut Arguments) -> Outcome<(Bytes, ShardOp)> {
        let first = |keys: &[Bytes]| keys.first().cloned().unwrap_or_default();
        Ok(match name {
            "get" => {
                let noted = arguments.take_flag("noted");
                let key = arguments.key(0)?;
                (key.clone(), ShardOp::Get { key, at: arguments.timestamp(1)?, noted })
            }
            "scan" => {
                let noted = arguments.take_flag("noted");
                let limit = u32::try_from(arguments.take_number("limit")?.unwrap_or(100))?;
                let span = arguments.span(1);
                (span.start.clone(), ShardOp::Scan { span, at: arguments.timestamp(0)?, limit, noted })
            }
            "prewrite" => {
                let prewrite = prewrite(arguments)?;
                let key = prewrite.mutations.first().map(|mutation| mutation.key.clone());
                (key.unwrap_or_default(), ShardOp::Prewrite(prewrite))
            }
            "commit" => {
                let (keys, start) = (arguments.keys(2), arguments.timestamp(0)?);
                (first(&keys), ShardOp::Commit { keys, start, commit: arguments.timestamp(1)? })
            }
            "rollback" => {
                let (keys, start) = (arguments.keys(1), arguments.timestamp(0)?);
                (first(&keys), ShardOp::Rollback { keys, start })
            }
            "check-status" => {
                let primary = arguments.key(0)?;
                (primary.clone(), ShardOp::CheckStatus { primary, start: arguments.timestamp(1)? })
            }
            "check-secondaries" => {
                let (keys, start) = (arguments.keys(1), arguments.timestamp(0)?);
                (first(&keys), ShardOp::CheckSecondaries { keys, start })
            }
            "resolve" => {
                let commit = arguments.take_number("commit")?.map(Timestamp);
                let (keys, start) = (arguments.keys(1), arguments.timestamp(0)?);
                (first(&keys), ShardOp::Resolve { keys, start, commit })
            }
            "heartbeat" => {
                let (primary, start) = (arguments.key(0)?, arguments.timestamp(1)?);
                (primary.clone(), ShardOp::Heartbeat { primary, start, ttl: arguments.number(2)? })
            }
            "acquire" => {
                let (keys, start) = (arguments.keys(2), arguments.timestamp(0)?);
                let primary =
                    arguments.take("primary").map_or_else(|| first(&keys), |key| key.as_str().into());
                let ttl = arguments.take_number("ttl")?.unwrap_or(1000);
                let for_update = arguments.timestamp(1)?;
                (first(&keys), ShardOp::Acquire { keys, primary, start, for_update, ttl })
            }
            "abandon" => {
                let (keys, start) = (arguments.keys(2), arguments.timestamp(0)?);
                (first(&keys), ShardOp::Abandon { keys, start, for_update: arguments.timestamp(1)? })
            }
            other => return Err(format!("no command {other}").into()),
        })
    }

    fn move_step(&mut self, name: &str, arguments: &Arguments) -> Outcome {
        let (group, version) = (GroupId(u32::try_from(arguments.number(0)?)?), arguments.number(1)?);
        let span = arguments.span(2);
        let op = match name {
            "freeze" => ShardOp::Freeze { span, version },
            "install" => {
                let content = self.frozen.get(&version).cloned().unwrap_or_default();
                ShardOp::Install { span, version, content }
            }
            _ => ShardOp::Release { span, version },
        };
        if let Ret::Content(content) = self.ask(group, Op::Shard { version, op }) {
            self.frozen.insert(version, content);
        }
        Ok(())
    }

    /// Tells the scheduler what a group holds; what it really does, unless something is given.
    fn report(&mut self, arguments: &mut Arguments) -> Outcome {
        let group = GroupId(u32::try_from(arguments.number(0)?)?);
        let version = arguments.take_number("version")?;
        let given = |(span, pairs): (String, String)| -> Outcome<Held> {
            let (start, end) = span.split_once("..").ok_or("a span is FROM..TO")?;
            let end = (!end.is_empty()).then(|| end.into());
            let span = Span { start: start.into(), end };
            Ok(Held { span, version: version.unwrap_or(1), pairs: pairs.parse()? })
        };
        let pairs = std::mem::take(&mut arguments.pairs);
        let regions = match (version, self.ask_quietly(group, ShardOp::Sizes)) {
            (Some(_), _) => pairs.into_iter().map(given).collect::<Outcome<_>>()?,
            (None, Ret::Held(held)) if pairs.is_empty() => held,
            (None, _) => return Err("what is made up has a version".into()),
        };
        self.ask(SCHEDULER, Op::Scheduler(SchedulerOp::Heartbeat { group, regions }));
        Ok(())
    }

    /// Asks a shard for what concerns all that it holds, if there is one.
    fn ask_quietly(&mut self, group: GroupId, op: ShardOp) -> Ret {
        let clock = self.clock;
        let shard = self.groups.get_mut(&group);
        shard.map_or(Ret::NotHere, |shard| shard.ask(&Op::Shard { version: 0, op }, clock))
    }

    fn execute(&mut self, name: &str, mut arguments: Arguments) -> Outcome {
        match name {
            "cluster" => return self.start(arguments),
            "clock" => self.clock = Time(arguments.number(0)? * 1000),
            "restart" => self.groups.values_mut().for_each(Group::restart),
            "state" => {
                for (id, group) in &self.groups {
                    let asked = arguments.texts.is_empty() || arguments.number(0)? == u64::from(id.0);
                    let shown = group.shown();
                    if asked && *id != SCHEDULER {
                        let _ = write!(
                            self.output,
                            "{id}{}\n{shown}",
                            if shown.is_empty() { " nothing" } else { "" }
                        );
                    }
                }
            }
            "count" => {
                for (id, group) in self.groups.iter().filter(|(id, _)| **id != SCHEDULER) {
                    let _ = writeln!(self.output, "{id} {}", group.counted());
                }
            }
            "collect" => {
                let (safepoint, group) = (arguments.timestamp(0)?, arguments.take_number("group")?);
                let asked =
                    |id: &GroupId| *id != SCHEDULER && group.is_none_or(|group| group == u64::from(id.0));
                for id in self.groups.keys().copied().filter(asked).collect::<Vec<_>>() {
                    self.ask(id, Op::Shard { version: 0, op: ShardOp::Collect { safepoint } });
                }
            }
            "timestamps" => {
                let count = u32::try_from(arguments.number(0)?)?;
                self.ask(SCHEDULER, Op::Scheduler(SchedulerOp::Timestamps { count }));
            }
            "regions" => {
                self.ask(SCHEDULER, Op::Scheduler(SchedulerOp::Regions));
            }
            "split" => {
                let (at, to) = (arguments.key(0)?, GroupId(u32::try_from(arguments.number(1)?)?));
                self.ask(SCHEDULER, Op::Scheduler(SchedulerOp::Split { at, to }));
            }
            "moved" => {
                let (start, version) = (arguments.key(0)?, arguments.number(1)?);
                self.ask(SCHEDULER, Op::Scheduler(SchedulerOp::Moved { start, version }));
            }
            "sizes" => {
                let group = GroupId(u32::try_from(arguments.number(0)?)?);
                self.ask(group, Op::Shard { version: 0, op: ShardOp::Sizes });
            }
            "middle" => {
                let span = arguments.span(0);
                let start = span.start.clone();
                self.ask_shard(&start, ShardOp::Middle { span });
            }
            "report" => self.report(&mut arguments)?,
            "reports" => self.output += &self.groups[&SCHEDULER].reports(),
            "balance" => {
                let tolerance = arguments.texts.first().map_or(Ok(0), |text| text.parse())?;
                self.ask(SCHEDULER, Op::Scheduler(SchedulerOp::Balance { tolerance }));
            }
            "largest" => {
                let above = arguments.number(0)?;
                self.ask(SCHEDULER, Op::Scheduler(SchedulerOp::Largest { above }));
            }
            "alive" => {
                for server in arguments.texts.iter().map(|number| node(number)) {
                    self.ask(SCHEDULER, Op::Scheduler(SchedulerOp::Alive { server: server? }));
                }
            }
            "leads" => {
                let (server, group) = (node(&arguments.texts[0])?, u32::try_from(arguments.number(1)?)?);
                let epoch = Epoch(arguments.number(2)?);
                let candidates = arguments.take("or").unwrap_or_else(|| "1,2,3".to_owned());
                let candidates = candidates.split(',').map(node).collect::<Outcome<_>>()?;
                let leads = SchedulerOp::Leads { group: GroupId(group), epoch, server, candidates };
                self.ask(SCHEDULER, Op::Scheduler(leads));
            }
            "freeze" | "install" | "release" => self.move_step(name, &arguments)?,
            "move" => self.finish_moves(),
            "begin" | "read" | "select" | "put" | "remove" | "finish" | "give-up" => {
                let until = arguments.take("until");
                let texts: Vec<&str> = arguments.texts.iter().map(String::as_str).collect();
                self.step(name, &texts, until.as_deref())?;
            }
            name => {
                let group = arguments.take_number("group")?;
                let version = arguments.take_number("version")?;
                let (key, op) = self.shard_op(name, &mut arguments)?;
                let regions = self.regions();
                let region =
                    regions.iter().find(|region| region.span.contains(&key)).expect("every key is there");
                let group = group.map_or(Ok(region.group), |group| u32::try_from(group).map(GroupId))?;
                self.ask(group, Op::Shard { version: version.unwrap_or(region.version), op });
            }
        }
        if let Some((option, _)) = arguments.pairs.first() {
            return Err(format!("{name} has no option {option}").into());
        }
        Ok(())
    }
}

fn node(number: &str) -> Outcome<NodeId> {
    Ok(NodeId::new(number.parse()?))
}

fn prewrite(arguments: &mut Arguments) -> Outcome<Prewrite> {
    let (shards_choose, one_phase) = (arguments.take_flag("async"), arguments.take_flag("one-phase"));
    let primary = arguments.take("primary").map(|key| Bytes::from(key.as_str()));
    let ttl = arguments.take_number("ttl")?.unwrap_or(1000);
    let for_update = arguments.take_number("for-update")?.map(Timestamp);
    let secondaries = arguments.take("with");
    let keys = |names: String| names.split(',').filter(|name| !name.is_empty()).map(Bytes::from).collect();
    let mutation = |(key, value): (String, String)| match key.as_str() {
        "delete" => Mutation { key: value.as_str().into(), kind: MutationKind::Delete },
        "lock" => Mutation { key: value.as_str().into(), kind: MutationKind::Lock },
        key => Mutation { key: key.into(), kind: MutationKind::Put(value.as_str().into()) },
    };
    let mutations: Vec<Mutation> = std::mem::take(&mut arguments.pairs).into_iter().map(mutation).collect();
    let first = mutations.first().map(|mutation| mutation.key.clone()).unwrap_or_default();
    Ok(Prewrite {
        mutations,
        primary: primary.unwrap_or(first),
        start: arguments.timestamp(0)?,
        ttl,
        for_update,
        secondaries: secondaries.map(keys),
        shards_choose,
        one_phase,
    })
}

impl goldenscript::Runner for Script {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &Self::Command, _context: &Context) -> Result<String, Box<dyn Error>> {
        self.execute(&command.name, Arguments::of(command))?;
        Ok(std::mem::take(&mut self.output))
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts/percolator")
}

fn scripts() -> Vec<PathBuf> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("the folder exists");
        entries.map(|entry| entry.expect("readable").path()).collect()
    };
    let mut paths: Vec<PathBuf> = entries(&folder())
        .iter()
        .flat_map(|path| if path.is_dir() { entries(path) } else { vec![path.clone()] })
        .collect();
    paths.sort();
    paths
}

#[test]
fn percolator() {
    let scripts = scripts();
    assert!(!scripts.is_empty(), "there are scripts");
    for path in scripts {
        println!("{}", path.display());
        goldenscript::run(&mut Script::default(), &path).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// What a script shows with a bug planted; an error where it cannot go on.
fn planted(text: &str, bug: &str) -> Result<String, String> {
    let with_bug = text.replacen("\ncluster", &format!("\ncluster bug={bug}"), 1);
    assert_ne!(with_bug, text, "a script begins with its cluster");
    let shown = goldenscript::generate(&mut Script::default(), &with_bug);
    let shown = shown.map_err(|error| error.to_string())?;
    Ok(shown.replacen(&format!(" bug={bug}"), "", 1))
}

/// What `courses.tsv` names of these scripts: against each a bug is planted, with which it comes out otherwise.
#[test]
fn planted_bugs_turn_courses_red() {
    let table = std::fs::read_to_string(folder().join("../courses.tsv")).expect("the table can be read");
    let mut seen = 0;
    for row in table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>()) {
        let [_, case, protocol, script, bug] = row[..] else { panic!("{row:?} has five fields") };
        if protocol != "percolator" {
            continue;
        }
        let text = std::fs::read_to_string(folder().join(script));
        let text = text.unwrap_or_else(|error| panic!("{case}: {script}: {error}"));
        seen += 1;
        let bug: Bug = bug.parse().unwrap_or_else(|error| panic!("{case}: {script}: {error}"));
        assert_ne!(planted(&text, bug.name()).as_ref(), Ok(&text), "{case}: {script} does not show {bug}");
        let plain = goldenscript::generate(&mut Script::default(), &text).expect("the script is sound");
        assert_eq!(plain, text, "{case}: {script}");
    }
    assert!(seen > 0, "percolator has rows");
}
