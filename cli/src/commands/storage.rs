//! `seedbed storage`: looks into the files of real stores.
//!
//! `verify` works on a copy: opening a store recovers it, and what is looked at must stay as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};
use testbed::storage::inspect::{self, Dump};
use testbed::storage::{BTree, BTreeOptions, Journal, JournalOptions, LogStore, LogStoreOptions};
use testbed::storage::{Lsm, LsmOptions, StdFs};
use testbed::{Engine, TornTail};

use crate::args::{DumpArgs, VerifyArgs};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::term::{Out, Style, Term};

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Lsm,
    BTree,
    LogStore,
    Journal,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Lsm => "LSM",
            Self::BTree => "B-tree",
            Self::LogStore => "log-structured store",
            Self::Journal => "journal",
        }
    }

    /// By the names of its files.
    fn of(names: &[String]) -> Option<Self> {
        let ends = |suffix: &str| names.iter().any(|name| name.ends_with(suffix));
        if names.iter().any(|name| name == "CURRENT") {
            Some(Self::Lsm)
        } else if names.iter().any(|name| name == "data") {
            Some(Self::BTree)
        } else if ends(".segment") || ends(".merged") {
            Some(Self::LogStore)
        } else {
            ends(".journal").then_some(Self::Journal)
        }
    }
}

/// What there is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    Intact,
    /// What stands at the end of a log does not count. If the machine lost its power that is as it should
    /// be; if not, what was written last is damaged. The files alone cannot tell.
    Cut,
    Damaged,
}

impl Finding {
    fn name(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Cut => "intact up to a cut",
            Self::Damaged => "damaged",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Intact => Style::Green,
            Self::Cut => Style::Yellow,
            Self::Damaged => Style::Red,
        }
    }
}

/// What was found of a store, and what there is to say about it.
struct Found {
    finding: Finding,
    said: Vec<String>,
}

impl Found {
    fn cut(torn: &[TornTail]) -> Self {
        let finding = if torn.is_empty() { Finding::Intact } else { Finding::Cut };
        Self { finding, said: torn.iter().map(ToString::to_string).collect() }
    }

    fn damaged(error: &dyn std::error::Error) -> Self {
        Self { finding: Finding::Damaged, said: vec![error.to_string()] }
    }
}

/// Reads every store in and below the folders, and checks all that can be checked.
pub(crate) fn verify(args: &VerifyArgs, term: &Term) -> Result<Exit, Problem> {
    let mut stores = Vec::new();
    for folder in &args.folders {
        let before = stores.len();
        find(folder, &mut stores)?;
        if stores.len() == before {
            return Err(Problem::NoStore(folder.clone()));
        }
    }
    let mut findings = Vec::new();
    let mut documents = Vec::new();
    for (path, kind) in stores {
        let Found { finding, said } = one(&path, kind)?;
        let verdict = term.paint(Term::people(args.json), finding.style(), finding.name());
        let colon = if said.is_empty() { "" } else { ": " };
        term.write(
            Term::people(args.json),
            &format!("{}: {}, {verdict}{colon}{}\n", path.display(), kind.name(), said.join("; ")),
        );
        documents.push(json!({
            "store": path, "kind": kind.name(), "finding": finding.name(), "said": said,
        }));
        findings.push(finding);
    }
    let worst = match findings.into_iter().max() {
        None | Some(Finding::Intact) => Exit::Holds,
        Some(Finding::Cut) => Exit::Inconclusive,
        Some(Finding::Damaged) => Exit::Violation,
    };
    if args.json {
        term.write(Out::Stdout, &format!("{:#}\n", json!({ "stores": documents })));
    }
    Ok(worst)
}

fn find(folder: &Path, stores: &mut Vec<(PathBuf, Kind)>) -> Result<(), Problem> {
    let refuse = |error| Problem::Read(folder.to_owned(), error);
    let mut names = Vec::new();
    let mut below = Vec::new();
    for entry in fs::read_dir(folder).map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        if entry.path().is_dir() {
            below.push(entry.path());
        } else {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    stores.extend(Kind::of(&names).map(|kind| (folder.to_owned(), kind)));
    below.sort();
    below.iter().try_for_each(|folder| find(folder, stores))
}

/// Opens a copy of a store and reads all of it.
fn one(path: &Path, kind: Kind) -> Result<Found, Problem> {
    let copy = std::env::temp_dir().join(format!("seedbed-verify-{}", std::process::id()));
    let _ = fs::remove_dir_all(&copy);
    let copied = copy_files(path, &copy.join("store"));
    let done = copied.map_err(|error| Problem::Read(path.to_owned(), error)).map(|()| {
        let fs = StdFs::new(&copy);
        match kind {
            Kind::Lsm => ready(verify_engine::<Lsm<StdFs>>(&fs, &LsmOptions::default())),
            Kind::BTree => ready(verify_engine::<BTree<StdFs>>(&fs, &BTreeOptions::default())),
            Kind::LogStore => ready(verify_engine::<LogStore<StdFs>>(&fs, &LogStoreOptions::default())),
            Kind::Journal => verify_journal(&fs),
        }
    });
    let _ = fs::remove_dir_all(&copy);
    done
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

async fn verify_engine<E: Engine>(fs: &E::Fs, options: &E::Options) -> Found {
    let store = match E::open(fs, "store", options).await {
        Ok(store) => store,
        Err(error) => return Found::damaged(&error),
    };
    match store.verify().await {
        Ok(()) => Found::cut(store.torn_tails()),
        Err(error) => Found::damaged(&error),
    }
}

fn verify_journal(fs: &StdFs) -> Found {
    match ready(Journal::open(fs.clone(), "store", JournalOptions::default())) {
        Ok((_, recovery)) => {
            let mut found = Found::cut(recovery.torn.as_slice());
            found.said.push(format!("{} records", recovery.entries.len()));
            found
        }
        Err(error) => Found::damaged(&error),
    }
}

/// Files of this machine are always ready.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}

/// Prints what is in files.
pub(crate) fn dump(args: &DumpArgs, term: &Term) -> Result<Exit, Problem> {
    let mut worst = Exit::Holds;
    let mut documents: Vec<Value> = Vec::new();
    for path in &args.files {
        let bytes = fs::read(path).map_err(|error| Problem::Read(path.clone(), error))?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let dump =
            inspect::dump(&name, &bytes).map_err(|error| Problem::NoFileOfAStore(path.clone(), error))?;
        if dump.flaw.is_some() {
            worst = Exit::Violation;
        }
        term.write(Term::people(args.json), &text(path, &dump, term, Term::people(args.json)));
        documents.push(json!({ "file": path, "kind": dump.kind, "lines": dump.lines, "flaw": dump.flaw }));
    }
    if args.json {
        term.write(Out::Stdout, &format!("{:#}\n", json!({ "files": documents })));
    }
    Ok(worst)
}

fn text(path: &Path, dump: &Dump, term: &Term, out: Out) -> String {
    let mut text = format!("{}: {}\n", term.paint(out, Style::Bold, path.display()), dump.kind);
    for line in &dump.lines {
        text += &format!("  {line}\n");
    }
    if let Some((offset, what)) = dump.flaw {
        text += &format!("  {} at byte {offset}: {what}\n", term.paint(out, Style::Red, "bad"));
    }
    text
}
