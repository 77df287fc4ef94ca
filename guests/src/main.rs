//! `seedbed` with guests: every command of it, for scenarios whose `cluster.protocol` is one of theirs too.

mod noraft;

use std::process::ExitCode;

use crate::noraft::Noraft;

fn main() -> ExitCode {
    cli::main(vec![cli::protocol::<Noraft>("the crate noraft 0.7: Raft without I/O, by another author")])
}
