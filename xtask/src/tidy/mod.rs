//! What the compiler cannot check. Each rule is a pure function from text to complaints, with a test
//! that plants what it forbids; [`check`] feeds them the repository.

mod arrows;
mod bugs;
mod names;
mod ratchet;
mod scenarios;

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of the workspace that hold Rust code.
const CRATES: [&str; 9] =
    ["contract", "sim", "storage", "protocols", "node", "checker", "testbed", "cli", "xtask"];

/// Everything in the repository that breaks a rule, one line each.
pub(crate) fn check(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for name in CRATES {
        complaints.extend(arrows::check(name, &read(&root.join(name).join("Cargo.toml"))));
    }
    let ratchet = ratchet::limits(&read(&root.join("xtask/ratchet.toml")));
    for name in CRATES {
        for path in files(&root.join(name), "rs") {
            let text = read(&path);
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            complaints.extend(names::check(name, &shown, &text));
            complaints.extend(ratchet::check(&ratchet, &shown, &text));
        }
    }
    let scenarios = files(&root.join("scenarios"), "toml");
    for path in &scenarios {
        let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
        complaints.extend(scenarios::check(&shown, &read(path)));
    }
    if scenarios.is_empty() {
        complaints.push("scenarios/: there is none".to_owned());
    }
    let proofs = CRATES.iter().flat_map(|name| files(&root.join(name).join("tests"), "rs"));
    let scripts = every_file(&root.join("protocols/testscripts"));
    // A test runs every line of the table.
    let planted = read(&root.join("scenarios/course/planted.tsv"));
    let planted = planted.lines().filter_map(|line| Some(format!("bug={}", line.split('\t').nth(2)?)));
    let tests: Vec<String> = proofs.chain(scripts).map(|path| read(&path)).chain(planted).collect();
    let document = crate::scenarios::document(root);
    complaints.extend(crate::scenarios::check(&read(&root.join("docs/scenarios.md")), &document));
    let replays = files(&root.join("replays"), "json");
    complaints.extend(bugs::check(&replays, &tests, &read(&root.join("docs/bugs.md"))));
    complaints
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of an extension below a folder, sorted; build output is passed over.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = every_file(folder);
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    found
}

fn every_file(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
