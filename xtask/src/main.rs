//! Chores of the repository.
//!
//! `cargo xtask tidy` checks what the compiler cannot: the arrows between crates, names that have no
//! place in a simulated crate, scenarios, planted bugs, file sizes. `cargo xtask bench` measures the
//! speed of the simulator, `cargo xtask bench peers` that of others beside it, `cargo xtask bench storage` that
//! of storage engines on a real disk, `cargo xtask laws` whether it obeys the laws of real devices, `cargo xtask
//! laws storage` whether the engines obey theirs, `cargo xtask matrix` whether each kind of fault bites, `cargo
//! xtask published` whether published results come out here, and `cargo xtask histories DIR` judges histories
//! with known verdicts.

mod bench;
mod bugs;
mod histories;
mod laws;
mod matrix;
mod peers;
mod published;
mod scenarios;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// As `seedbed` has it: what is measured here is what its users get.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Chores of the repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check what the compiler cannot.
    Tidy,
    /// Measure whether the world obeys the laws of real disks, networks and clocks, or the storage engines
    /// those of theirs (build with --release).
    Laws {
        /// Whose laws.
        #[arg(value_enum, default_value_t)]
        of: laws::Of,
    },
    /// Run each kind of fault alone: on a correct server, on one with a bug, and that one without it
    /// (build with --release).
    Matrix {
        /// How many seeds.
        #[arg(long, default_value_t = 500)]
        seeds: u64,
        /// Which kinds; all by default.
        kinds: Vec<String>,
    },
    /// Measure the speed of the simulator (build with --release).
    Bench {
        /// What to measure; by default this simulator alone.
        #[arg(value_enum, default_value_t)]
        what: bench::What,
        /// How often each figure is measured; the median is printed.
        #[arg(long, default_value_t = 7)]
        runs: usize,
        /// How many rows the storage engines have.
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
    },
    /// Look for each planted bug where its replay was found: how many seeds it takes (build with --release).
    Bugs {
        /// How many seeds are tried at most, in each of five ranges.
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// Only bugs with this in their names; all by default.
        only: Vec<String>,
    },
    /// Print which scenario stands for which test of the courses, and what turns it red: docs/scenarios.md.
    Scenarios,
    /// Record the replays anew, after a change that gives the same runs other digests.
    Replays,
    /// Reproduce published results and compare (build with --release).
    Published,
    /// Judge the histories of a folder and compare the verdicts with its expected.tsv.
    Histories {
        /// The folder.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    match Arguments::parse().chore {
        Chore::Tidy => {
            let complaints = tidy::check(&root);
            for complaint in &complaints {
                eprintln!("tidy: {complaint}");
            }
            println!("tidy: {} complaints", complaints.len());
            ExitCode::from(u8::from(!complaints.is_empty()))
        }
        Chore::Matrix { seeds, kinds } => matrix::run(&root, seeds, &kinds),
        Chore::Laws { of } => ExitCode::from(u8::from(!laws::run(of))),
        Chore::Bench { what, runs, rows } => {
            let peers = root.join("peers");
            let measured = match what {
                bench::What::World => {
                    bench::run(runs);
                    Ok(())
                }
                bench::What::Peers => peers::run(&peers, runs),
                bench::What::Storage => peers::storage(&peers, rows),
            };
            match measured {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("bench: {error}");
                    ExitCode::from(2)
                }
            }
        }
        Chore::Bugs { seeds, only } => told("bugs", bugs::run_all(&root, seeds, &only)),
        Chore::Scenarios => told(
            "scenarios",
            scenarios::document(&root).map(|text| {
                print!("{text}");
                true
            }),
        ),
        Chore::Replays => told("replays", bugs::renew(&root)),
        Chore::Published => ExitCode::from(u8::from(!published::run())),
        Chore::Histories { folder } => told("histories", histories::judge(&folder)),
    }
}

/// 0 if all is well, 1 if not, 2 if it cannot be told.
fn told(chore: &str, done: Result<bool, impl std::fmt::Display>) -> ExitCode {
    match done {
        Ok(well) => ExitCode::from(u8::from(!well)),
        Err(error) => {
            eprintln!("{chore}: {error}");
            ExitCode::from(2)
        }
    }
}
