//! Percolator's layout (Peng and Dabek, 2010) over versions, as scripts: each file in
//! `testscripts/mvcc` is a case. To write their outputs anew: `UPDATE_GOLDENFILES=1 cargo test`, then
//! read them. Each script runs over every engine, and all must say the same.
//!
//! Values stand at the timestamp at which their transaction began, write records at the one at which
//! it committed, a lock under its key alone.
//!
//! | Command | Does |
//! |---|---|
//! | `put-value KEY START VALUE`, `delete-value KEY START` | writes or removes a value |
//! | `put-write KEY COMMIT KIND START` | writes a record: `put`, `delete` or `rollback` |
//! | `put-lock KEY START`, `delete-lock KEY`, `get-lock KEY` | the lock of a key |
//! | `get KEY AT` | the value that a reader at a timestamp sees |
//! | `most-recent-write KEY` | the newest record |
//! | `current-write KEY START` | the record of the transaction that began then |
//! | `scan AT [FROM]` | all pairs that a reader at a timestamp sees |
//! | `raw FAMILY` | what the store holds: `values`, `writes` or `locks` |

use std::cell::RefCell;
use std::error::Error;
use std::fmt::Write as _;
use std::rc::Rc;

use contract::{Batch, Durability, Engine, Family, Range};
use goldenscript::{Command, Context, Runner};
use protocols::mvcc::{Timestamp, newest_pair, split_version_key, version_key};
use sim::SimFs;
use storage::{BTree, LogStore, Lsm, Mode};

use crate::engines::{SOUND, btree, logstore, lsm, lsm_tiered};
use crate::ground::{NODE, run, world};

const VALUES: Family = Family(0);
const LOCKS: Family = Family(1);
const WRITES: Family = Family(2);

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Script<E> {
    store: E,
}

/// A write record: what it did, and where its value is.
struct Record {
    kind: String,
    start: Timestamp,
}

impl Record {
    fn parse(bytes: &[u8]) -> Outcome<Self> {
        let (kind, start) = std::str::from_utf8(bytes)?.split_once(' ').ok_or("a record has two parts")?;
        Ok(Self { kind: kind.into(), start: Timestamp(start.parse()?) })
    }
}

impl<E: Engine> Script<E> {
    async fn write(&self, fill: impl FnOnce(&mut Batch)) -> Outcome<String> {
        let mut batch = Batch::default();
        fill(&mut batch);
        self.store.write(batch, Durability::Synced).await?;
        Ok(String::new())
    }

    /// Records of a key at or below a timestamp, the newest first.
    async fn records(&self, key: &[u8], mut at: Timestamp) -> Outcome<Vec<(Timestamp, Record)>> {
        let mut records = Vec::new();
        while let Some((commit, bytes)) = newest_pair(&self.store, WRITES, key, at).await? {
            records.push((commit, Record::parse(&bytes)?));
            let Some(before) = commit.0.checked_sub(1) else { break };
            at = Timestamp(before);
        }
        Ok(records)
    }

    async fn get(&self, key: &[u8], at: Timestamp) -> Outcome<Option<Vec<u8>>> {
        for (_, record) in self.records(key, at).await? {
            match record.kind.as_str() {
                "put" => return Ok(self.store.get_in(VALUES, &version_key(key, record.start)).await?),
                "delete" => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    async fn scan(&self, from: &[u8], at: Timestamp) -> Outcome<String> {
        let range = Range { family: WRITES, from: &version_key(from, Timestamp::MAX), ..Range::all() };
        let mut keys = Vec::new();
        for (encoded, _) in self.store.scan(range, usize::MAX).await? {
            keys.push(split_version_key(&encoded).ok_or("a record stands under a version key")?.0);
        }
        keys.dedup();
        let mut output = String::new();
        for key in keys {
            if let Some(value) = self.get(&key, at).await? {
                writeln!(output, "{} = {}", shown(&key), shown(&value))?;
            }
        }
        Ok(output)
    }

    async fn raw(&self, family: &str) -> Outcome<String> {
        let family = match family {
            "values" => VALUES,
            "writes" => WRITES,
            "locks" => LOCKS,
            other => return Err(format!("no family {other}").into()),
        };
        let mut output = String::new();
        for (encoded, value) in self.store.scan(Range::all().of(family), usize::MAX).await? {
            let at = if family == LOCKS { None } else { split_version_key(&encoded) };
            match at {
                Some((key, at)) => writeln!(output, "{}{at} = {}", shown(&key), shown(&value))?,
                None => writeln!(output, "{} = {}", shown(&encoded), shown(&value))?,
            }
        }
        Ok(output)
    }

    async fn command(&self, command: &Command) -> Outcome<String> {
        let arguments: Vec<String> = command.args.iter().map(ToString::to_string).collect();
        let key = |i: usize| arguments.get(i).map_or(&b""[..], |argument| argument.as_bytes());
        let at = |i: usize| -> Outcome<Timestamp> {
            Ok(Timestamp(arguments.get(i).ok_or("a timestamp is missing")?.parse()?))
        };
        match command.name.as_str() {
            "put-value" => {
                let version = version_key(key(0), at(1)?);
                self.write(|batch| batch.put_in(VALUES, version, key(2))).await
            }
            "delete-value" => {
                let version = version_key(key(0), at(1)?);
                self.write(|batch| batch.delete_in(VALUES, version)).await
            }
            "put-write" => {
                let record = format!("{} {}", arguments[2], at(3)?.0);
                let version = version_key(key(0), at(1)?);
                self.write(|batch| batch.put_in(WRITES, version, record)).await
            }
            "put-lock" => self.write(|batch| batch.put_in(LOCKS, key(0), key(1))).await,
            "delete-lock" => self.write(|batch| batch.delete_in(LOCKS, key(0))).await,
            "get-lock" => {
                let lock = self.store.get_in(LOCKS, key(0)).await?;
                Ok(lock.map_or("none\n".into(), |start| format!("locked since @{}\n", shown(&start))))
            }
            "get" => {
                let value = self.get(key(0), at(1)?).await?;
                Ok(value.map_or("none\n".into(), |value| format!("{}\n", shown(&value))))
            }
            "most-recent-write" => {
                let records = self.records(key(0), Timestamp::MAX).await?;
                Ok(records.first().map_or("none\n".into(), |(at, record)| told(*at, record)))
            }
            "current-write" => {
                let start = at(1)?;
                let records = self.records(key(0), Timestamp::MAX).await?;
                let found = records.iter().find(|(_, record)| record.start == start);
                Ok(found.map_or("none\n".into(), |(at, record)| told(*at, record)))
            }
            "scan" => self.scan(key(1), at(0)?).await,
            "raw" => self.raw(&arguments[0]).await,
            other => Err(format!("no command {other}").into()),
        }
    }
}

fn told(commit: Timestamp, record: &Record) -> String {
    format!("{commit}: {} begun {}\n", record.kind, record.start)
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs each command on the node of a world of its own.
struct InWorld<E> {
    world: sim::World<()>,
    script: Rc<Script<E>>,
}

impl<E: Engine<Fs = SimFs>> InWorld<E> {
    fn new(options: E::Options) -> Self {
        let world = world(1, "ideal");
        let fs = world.fs(NODE);
        let store = run(&world, async move { E::open(&fs, "store", &options).await.expect("opens") });
        Self { world, script: Rc::new(Script { store }) }
    }
}

impl<E: Engine<Fs = SimFs>> Runner for InWorld<E> {
    type Command = Command;

    fn run(&mut self, command: &Command, _context: &Context) -> Result<String, Box<dyn Error>> {
        let (script, command) = (Rc::clone(&self.script), command.clone());
        let outcome = Rc::new(RefCell::new(None));
        let out = Rc::clone(&outcome);
        run(&self.world, async move {
            *out.borrow_mut() = Some(script.command(&command).await.map_err(|error| error.to_string()));
        });
        let outcome = outcome.take().expect("the command is done");
        outcome.map_err(Into::into)
    }
}

/// A runner whose scripts run over every engine at once; all must say the same.
struct Everywhere {
    lsms: [InWorld<Lsm<SimFs>>; 2],
    logstore: InWorld<LogStore<SimFs>>,
    btrees: [InWorld<BTree<SimFs>>; 2],
}

impl Everywhere {
    fn new() -> Self {
        Self {
            lsms: [lsm(SOUND), lsm_tiered(SOUND)].map(InWorld::new),
            logstore: InWorld::new(logstore(SOUND)),
            btrees: [Mode::Wal, Mode::Rollback].map(|mode| InWorld::new(btree(mode, SOUND))),
        }
    }
}

impl Runner for Everywhere {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Result<String, Box<dyn Error>> {
        let said = self.logstore.run(command, context)?;
        for lsm in &mut self.lsms {
            assert_eq!(lsm.run(command, context)?, said, "the engines differ");
        }
        for btree in &mut self.btrees {
            assert_eq!(btree.run(command, context)?, said, "the engines differ");
        }
        Ok(said)
    }
}

#[test]
fn percolator_layouts_read_as_scripts_say() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/testscripts/mvcc");
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .expect("the scripts are there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    names.sort();
    assert!(names.len() >= 15, "TinyKV has fifteen cases");
    for path in names {
        let mut runner = Everywhere::new();
        goldenscript::run(&mut runner, &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
