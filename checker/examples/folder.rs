//! Judges the histories of a folder and compares the verdicts with its `expected.tsv`.
//!
//! `cargo run --release -p seedbed-checker --example folder -- FOLDER`

use std::error::Error;
use std::path::PathBuf;

use seedbed_checker::Budget;
use seedbed_checker::formats::judge_folder;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("which folder?")?);
    let rows = judge_folder(&folder, Budget::default())?;
    for row in &rows {
        let mark = if row.agrees() { "agrees" } else { "DISAGREES" };
        println!("{:<24} {mark:<10} {}", row.file, row.verdict);
    }
    let agree = rows.iter().filter(|row| row.agrees()).count();
    println!("{agree} of {} agree", rows.len());
    if agree < rows.len() { Err("some verdicts are not as expected".into()) } else { Ok(()) }
}
