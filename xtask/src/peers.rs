//! Other projects' tools beside ours. Each folder of `peers/` is a workspace of its own, built only here; its
//! program prints its tables.

use std::env;
use std::io;
use std::path::Path;
use std::process::Command;

/// Builds and runs the simulators, whose figures are medians of so many runs, and the checkers.
pub(crate) fn run(peers: &Path, runs: usize) -> io::Result<()> {
    build_and_run(&peers.join("sim"), &[], &[runs.to_string()])?;
    build_and_run(&peers.join("checker"), &[], &[])
}

/// Builds the storage engines and runs them with so many rows. RocksDB is among them where the environment says
/// that there is a library of it: to compile it takes half an hour.
pub(crate) fn storage(peers: &Path, rows: u64) -> io::Result<()> {
    let features: &[&str] = if env::var_os("ROCKSDB_LIB_DIR").is_some() { &["rocksdb"] } else { &[] };
    build_and_run(&peers.join("storage"), features, &["--rows".to_owned(), rows.to_string()])
}

fn build_and_run(folder: &Path, features: &[&str], arguments: &[String]) -> io::Result<()> {
    // The folder's own cargo configuration counts only from within it.
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--release", "--quiet"]).args(features.iter().flat_map(|name| ["--features", *name]));
    cargo.arg("--").args(arguments).current_dir(folder);
    let status = cargo.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{}: {status}", folder.display()))) }
}
