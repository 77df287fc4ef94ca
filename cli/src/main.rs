//! `seedbed`, with the protocols of this project.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    seedbed_cli::main(Vec::new())
}
