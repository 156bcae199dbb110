//! The bench: what the agent costs beside a floor that is measured in the same run, with the same client, server and disk.
//!
//! `make bench` runs every part, `cargo bench --bench floor -- a e` only some; `target/bench/report.md` and `report.json`
//! say what was measured and whether each target is met. A missed target is a finding, not a failure; what could not be
//! measured is one. The services are real ones, as `tests/services` runs them, and each part starts and ends its own.
//!
//! Called as `floor CONNECT ROOT FILE` this program is the floor itself, in a process of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench fails by panicking, as tests do")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts become figures")]

#[allow(dead_code, reason = "the live tests' own support; the bench uses a part of it")]
#[path = "../live/support/mod.rs"]
mod support;

#[allow(dead_code, reason = "the live tests' own support; the bench uses a part of it")]
#[path = "../live/check/support.rs"]
mod checks;

mod api;
mod crowd;
mod figures;
mod floor;
mod latency;
mod outage;
mod process;
mod push;
mod reload;
mod report;
mod rest;
mod rollout;
mod services;
mod tree;
mod versions;
mod waiter;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};

use self::report::{Load, Part, Report};

/// Measures one part.
type Measure = fn(&Runtime) -> Part;

/// The parts, each with the letter that it has in the list of targets.
const PARTS: &[(&str, Measure)] = &[
    ("a", latency::measure),
    ("b", rest::memory),
    ("c", push::measure),
    ("d", rest::start),
    ("e", crowd::measure),
    ("f", outage::measure),
    ("g", reload::measure),
    ("h", rollout::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [command, connect, root, file] = &*arguments
        && command == "floor"
    {
        floor::run(connect, root, file.as_ref());
        return ExitCode::SUCCESS;
    }
    let known = |argument: &String| PARTS.iter().any(|(letter, _)| letter == argument);
    if let Some(unknown) = arguments.iter().find(|argument| !known(argument)) {
        eprintln!("error: no part is called {unknown}\n\nhint: the parts are a to h; without any, all are measured");
        return ExitCode::from(2);
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut report = Report::begin(versions::here(&runtime));
    for (letter, measure) in PARTS {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == letter) {
            measure_one(&runtime, letter, *measure, &mut report);
        }
    }
    report.write();
    if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures one part; one that fails is reported as such, and the others go on.
fn measure_one(runtime: &Runtime, letter: &str, measure: Measure, report: &mut Report) {
    eprintln!("… part {letter}");
    let (began, before) = (Instant::now(), Load::now());
    match catch_unwind(AssertUnwindSafe(|| measure(runtime))) {
        Ok(part) => report.add(part, before, began.elapsed()),
        Err(_) => report.failed(letter),
    }
}
