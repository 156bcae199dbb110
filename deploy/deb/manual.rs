//! Writes the manual pages and the completion scripts that packages hold, made from the command line's own description.
//!
//! In: a folder. Out: `man/*.1`, one page a command, and `completions/` for bash, zsh and fish. An example and no command: it ships in no
//! package, and needs no program for the target it packages for.
// What fails here fails the build, by panicking.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use clap_complete::{Shell, generate_to};
use setkeeper::cli;

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap());
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).unwrap();
    }
    clap_mangen::generate_to(cli::command(), man).unwrap();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut cli::command(), "setkeeper", &completions).unwrap();
    }
}
