//! Judges the histories of a folder and compares the verdicts with its `expected.tsv`.
//!
//! `cargo run --release -p seedbed-checker --example folder -- FOLDER`

use std::error::Error;
use std::path::PathBuf;

use seedbed_checker::Budget;
use seedbed_checker::formats::folder;

fn main() -> Result<(), Box<dyn Error>> {
    let path = PathBuf::from(std::env::args_os().nth(1).ok_or("which folder?")?);
    let known = folder::known(&path)?;
    let mut agree = 0;
    for history in &known {
        let verdict = history.judge(&path, Budget::default())?;
        let agrees = history.agrees(&verdict);
        agree += usize::from(agrees);
        println!("{:<24} {:<10} {verdict}", history.file, if agrees { "agrees" } else { "DISAGREES" });
    }
    println!("{agree} of {} agree", known.len());
    if agree < known.len() { Err("some verdicts are not as expected".into()) } else { Ok(()) }
}
