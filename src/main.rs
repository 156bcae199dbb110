//! The `setkeeper` program: reads the command line, runs the command, says how it ended.

use std::process::ExitCode;

use setkeeper::cli::Cli;
use setkeeper::{commands, output};

fn main() -> ExitCode {
    let cli = match Cli::from_arguments() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match commands::run(&cli) {
        Ok(code) => code,
        Err(error) => {
            output::say(&output::failure(&error));
            cli.command.code_of_failure()
        }
    }
}
