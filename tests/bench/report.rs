//! The report: for people (`target/bench/report.md`) and for programs (`report.json`).

use std::fmt::{Display, Write};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::figures::Figure;

/// How busy the machine was: the mean number of runnable processes over the last minute.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Load(f64);

impl Load {
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/loadavg").unwrap();
        Self(text.split(' ').next().unwrap().parse().unwrap())
    }
}

/// Tells a person who waits how far it is.
pub fn progress(what: impl Display) {
    eprintln!("    {what}");
}

/// What had to be reached, and what was.
#[derive(Debug, Serialize)]
pub struct Target {
    pub what: String,
    pub wanted: String,
    pub got: String,
    /// What was got to what was wanted, where both are numbers.
    pub ratio: Option<f64>,
    pub met: bool,
}

impl Target {
    pub fn new(what: impl Into<String>, wanted: impl Into<String>, got: impl Into<String>, met: bool) -> Self {
        Self { what: what.into(), wanted: wanted.into(), got: got.into(), ratio: None, met }
    }

    /// A share in percent that must not be below `least`.
    pub fn at_least(what: impl Into<String>, least: f64, got: f64) -> Self {
        let target = Self::new(what, format!("≥ {}", number(least, "%")), number(got, "%"), got >= least);
        Self { ratio: Some(got / least), ..target }
    }

    /// A number that must not be above `most`.
    pub fn at_most(what: impl Into<String>, unit: &str, most: f64, got: f64) -> Self {
        let target = Self::new(what, format!("≤ {}", number(most, unit)), number(got, unit), got <= most);
        Self { ratio: Some(got / most), ..target }
    }
}

/// One part of the bench.
#[derive(Debug, Serialize)]
pub struct Part {
    pub letter: char,
    pub title: &'static str,
    /// How it was measured, one sentence a line.
    pub how: Vec<String>,
    pub figures: Vec<Figure>,
    pub targets: Vec<Target>,
}

#[derive(Debug, Serialize)]
struct Measured {
    #[serde(flatten)]
    part: Part,
    load_before: Load,
    load_after: Load,
    seconds: f64,
}

/// All parts, and the machine.
#[derive(Debug, Serialize)]
pub struct Report {
    at: String,
    versions: Vec<(&'static str, String)>,
    machine: Machine,
    load: Load,
    parts: Vec<Measured>,
    not_measured: Vec<String>,
    seconds: f64,
    #[serde(skip)]
    began: Option<Instant>,
}

#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    model: String,
    memory: f64,
    kernel: String,
    disk: String,
}

impl Machine {
    fn this() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            model: model.trim_start_matches(['\t', ' ', ':']).to_owned(),
            memory: memory(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            disk: disk_of(&std::env::temp_dir()),
        }
    }
}

/// How much memory there is, in GB.
fn memory() -> f64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / f64::from(1 << 20)
}

/// The file system under `path`: a floor on a disk in memory would be another floor.
fn disk_of(path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap();
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_, point, kind) = (words.next()?, words.next()?, words.next()?);
        path.starts_with(point).then_some((point.len(), kind))
    });
    mounts.max_by_key(|(length, _)| *length).map_or("unknown", |(_, kind)| kind).to_owned()
}

impl Report {
    pub fn begin(versions: Vec<(&'static str, String)>) -> Self {
        Self {
            at: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            versions,
            machine: Machine::this(),
            load: Load::now(),
            parts: Vec::new(),
            not_measured: Vec::new(),
            seconds: 0.0,
            began: Some(Instant::now()),
        }
    }

    pub fn add(&mut self, part: Part, load_before: Load, took: Duration) {
        for target in &part.targets {
            let mark = if target.met { '✓' } else { '✗' };
            eprintln!("{mark} ({}) {}: {} ({})", part.letter, target.what, target.got, target.wanted);
        }
        self.parts.push(Measured { part, load_before, load_after: Load::now(), seconds: took.as_secs_f64() });
    }

    pub fn failed(&mut self, letter: &str) {
        eprintln!("✗ ({letter}) could not be measured");
        self.not_measured.push(letter.to_owned());
    }

    /// Whether everything that was asked for could be measured.
    pub fn is_complete(&self) -> bool {
        self.not_measured.is_empty()
    }

    pub fn write(&mut self) {
        self.seconds = self.began.take().map_or(0.0, |began| began.elapsed().as_secs_f64());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("report.json"), serde_json::to_string_pretty(self).unwrap() + "\n").unwrap();
        fs::write(folder.join("report.md"), self.text()).unwrap();
        eprintln!("the report: {}", folder.join("report.md").display());
    }

    fn text(&self) -> String {
        let mut text = String::new();
        self.write_head(&mut text);
        let _ = writeln!(text, "| | target | wanted | got | got ÷ wanted | |\n|---|---|---|---|---|---|");
        for Measured { part, .. } in &self.parts {
            for Target { what, wanted, got, ratio, met } in &part.targets {
                let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
                let met = if *met { "met" } else { "**not met**" };
                let _ = writeln!(text, "| {} | {what} | {wanted} | {got} | {ratio} | {met} |", part.letter);
            }
        }
        for letter in &self.not_measured {
            let _ = writeln!(text, "| {letter} | | | | | **could not be measured** |");
        }
        self.parts.iter().for_each(|measured| measured.write(&mut text));
        text
    }

    fn write_head(&self, text: &mut String) {
        let Machine { cores, model, memory, kernel, disk } = &self.machine;
        let versions: Vec<_> = self.versions.iter().map(|(what, version)| format!("{what} {version}")).collect();
        let _ = writeln!(text, "# Setkeeper: speed and memory\n");
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let _ = writeln!(text, "- Measured {} in {:.0} s, {build} build.", self.at, self.seconds);
        let _ = writeln!(text, "- Machine: {cores} cores ({model}), {memory:.0} GB, Linux {kernel}; files on {disk}.");
        let _ = writeln!(text, "- Its load average at the start: {}; what else runs on it slows what is measured.", self.load.0);
        let _ = writeln!(text, "- Versions: {}.\n", versions.join(", "));
    }
}

impl Measured {
    fn write(&self, text: &mut String) {
        let Part { letter, title, how, figures, .. } = &self.part;
        let _ = writeln!(text, "\n## {letter}. {title}\n");
        for sentence in how {
            let _ = writeln!(text, "- {sentence}");
        }
        let _ = writeln!(
            text,
            "- Took {:.0} s; load average of the machine {} before, {} after.\n",
            self.seconds, self.load_before.0, self.load_after.0
        );
        let _ = writeln!(text, "| | samples | p50 | p99 | min | max |\n|---|---|---|---|---|---|");
        for figure in figures {
            let Figure { what, unit, samples, .. } = figure;
            let [p50, p99, min, max] = [figure.p50, figure.p99, figure.min, figure.max].map(|value| number(value, unit));
            if *samples == 1 {
                let _ = writeln!(text, "| {what} | 1 | {p50} | | | |");
            } else {
                let _ = writeln!(text, "| {what} | {samples} | {p50} | {p99} | {min} | {max} |");
            }
        }
    }
}

/// A number as people read it: three digits that count, or none behind the point.
pub fn number(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        value if value.fract() == 0.0 || value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}
