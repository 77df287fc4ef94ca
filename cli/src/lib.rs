//! `seedbed`: the command, for the protocols of this project and for those that another crate brings along.
//!
//! Everything that is known of terminals, threads and process arguments is in this crate; what the
//! commands do is in `testbed`. Exit codes are in `exit.rs`, and every error that a user can cause is
//! a problem of `problem.rs`.

mod args;
mod commands;
mod crew;
mod exit;
mod interrupt;
mod memory;
mod panics;
mod problem;
mod show;
mod stopwatch;
mod term;
mod text;
mod values;

use std::process::ExitCode;

use clap::Parser;
use testbed::registry;

pub use testbed::registry::{Protocol, protocol};

use args::{Args, Command, HistoryCommand, StorageCommand};
use exit::Exit;
use term::Term;

/// Does what the process's arguments ask for, with `guests` beside the protocols of this project. It is to be the
/// whole of a program's `main`.
pub fn main(guests: Vec<Protocol>) -> ExitCode {
    registry::invite(guests);
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and versions come this way too; nobody is left to tell if printing fails.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::BadInput as u8));
        }
    };
    let term = Term::detect();
    let done = panics::guarded(|| match args.command {
        Command::Run(args) => commands::run::run(&args, &term),
        Command::Sweep(args) => commands::sweep::run(&args, &term),
        Command::Replay(args) => commands::replay::run(&args, &term),
        Command::Shrink(args) => commands::shrink::run(&args, &term),
        Command::Compare(args) => commands::compare::run(&args, &term),
        Command::Explore(args) => commands::explore::run(&args, &term),
        Command::Check(args) => commands::check::run(&args, &term),
        Command::History(HistoryCommand::Convert(args)) => commands::convert::run(&args, &term),
        Command::List(args) => Ok(commands::list::run(&args, &term)),
        Command::Storage(StorageCommand::Verify(args)) => commands::storage::verify(&args, &term),
        Command::Storage(StorageCommand::Dump(args)) => commands::storage::dump(&args, &term),
        Command::Schema => Ok(commands::schema::run(&term)),
    });
    let exit = match done {
        Ok(Ok(exit)) => exit,
        Ok(Err(problem)) => {
            problem.show(&term);
            Exit::BadInput
        }
        Err(panic) => {
            panic.show(&term);
            Exit::OwnBug
        }
    };
    exit.into()
}
