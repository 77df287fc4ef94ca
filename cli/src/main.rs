//! `seedbed`, with the protocols of this project.

use std::process::ExitCode;

fn main() -> ExitCode {
    seedbed_cli::main(Vec::new())
}
