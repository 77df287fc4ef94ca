//! Other projects' tools beside ours. Each folder of `peers/` is a workspace of its own, built only here; its
//! program prints its tables.

use std::io;
use std::path::Path;
use std::process::Command;

/// The folders, in the order of their tables; those that are missing are skipped.
const FOLDERS: [&str; 3] = ["sim", "checker", "storage"];

/// Builds and runs each of them.
pub(crate) fn run(peers: &Path, runs: usize) -> io::Result<()> {
    for folder in FOLDERS.map(|folder| peers.join(folder)).iter().filter(|folder| folder.exists()) {
        // The folder's own cargo configuration counts only from within it.
        let status = Command::new("cargo")
            .args(["run", "--release", "--quiet", "--", &runs.to_string()])
            .current_dir(folder)
            .status()?;
        if !status.success() {
            return Err(io::Error::other(format!("{}: {status}", folder.display())));
        }
    }
    Ok(())
}
