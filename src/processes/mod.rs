//! What runs on this machine, as `/proc` tells it: processes, who descends from whom, and one held fast to be signalled.
//!
//! In: `/proc`. Out: [`Process`]es in a [`Table`], and [`pinned::Pinned`] ones. [`gunicorn`] and [`celery`] know what those two look
//! like there. A `/proc` that shows another pid namespace is refused: its numbers mean other processes than ours. Nothing here
//! chooses whom to signal.

pub mod awake;
pub mod celery;
pub mod clock;
pub mod gunicorn;
pub mod pinned;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use self::clock::Moment;

/// What nearly every file that is read here fits into.
const USUAL: usize = 4096;

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's number.
    pub parent: i32,
    /// The number of its process group.
    pub group: i32,
    /// Its short name.
    pub name: String,
    /// Its program and arguments.
    pub arguments: Vec<String>,
    /// When it started, in the kernel's ticks: with the number it names a process for good.
    started: u64,
    /// Whether it has ended and waits for its parent to notice.
    has_ended: bool,
}

impl Process {
    /// The process of this number.
    pub fn read(pid: i32) -> io::Result<Self> {
        let folder = folder(pid);
        let stat = contents(&folder.join("stat"))?;
        let arguments = words(&contents(&folder.join("cmdline"))?);
        let mut process = Self::from_stat(&String::from_utf8_lossy(&stat)).ok_or(io::ErrorKind::InvalidData)?;
        (process.pid, process.arguments) = (pid, arguments);
        Ok(process)
    }

    /// `pid (name) state parent …`, of which the name may hold anything.
    fn from_stat(stat: &str) -> Option<Self> {
        let (before, after) = stat.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let fields: Vec<_> = after.split_whitespace().collect();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            name: name.to_owned(),
            started: fields.get(19)?.parse().ok()?,
            has_ended: matches!(*fields.first()?, "Z" | "X"),
            ..Self::default()
        })
    }

    /// Whether this very process, and no later one of its number, still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Self::read(self.pid).is_ok_and(|now| now.started == self.started && !now.has_ended)
    }

    /// When it started: not later than this, and a hundredth of a second earlier at most.
    #[must_use]
    pub fn started(&self) -> Moment {
        Moment::after_tick(self.started)
    }

    /// The sockets that it has open besides its standard streams, where we may see that.
    #[must_use]
    pub fn sockets(&self) -> BTreeSet<PathBuf> {
        let Ok(entries) = fs::read_dir(folder(self.pid).join("fd")) else { return BTreeSet::new() };
        let is_stream =
            |entry: &fs::DirEntry| entry.file_name().to_str().and_then(|fd| fd.parse().ok()).is_none_or(|fd: u32| fd < 3);
        let open = entries.flatten().filter(|entry| !is_stream(entry)).filter_map(|entry| fs::read_link(entry.path()).ok());
        open.filter(|link| link.to_string_lossy().starts_with("socket:")).collect()
    }

    /// Whether it has a file below a folder of this name in its memory, where we may see that: a library, for instance.
    #[must_use]
    pub fn has_loaded_from(&self, below: &str) -> bool {
        let part = format!("/{below}/");
        fs::read_to_string(folder(self.pid).join("maps")).is_ok_and(|maps| maps.contains(&part))
    }

    /// A variable of the environment that it was started with, where we may read that.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        let entries = words(&fs::read(folder(self.pid).join("environ")).ok()?);
        entries.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=')).map(ToOwned::to_owned)
    }

    /// The whole environment that it was started with, where we may read that.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let entries = words(&fs::read(folder(self.pid).join("environ")).unwrap_or_default());
        entries
            .iter()
            .filter_map(|entry| entry.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Whether it has made arrangements for this signal; one that has just been started would be ended by it.
    #[must_use]
    pub fn catches(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(folder(self.pid).join("status")).unwrap_or_default();
        let caught = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
        caught.is_some_and(|caught| caught >> (signal.as_raw() - 1) & 1 == 1)
    }

    /// Whether it belongs to the user that we are.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(folder(self.pid)).is_ok_and(|about| about.uid() == rustix::process::geteuid().as_raw())
    }

    /// A file that it names, as we reach it: below the root that it sees.
    #[must_use]
    pub fn file(&self, path: &Path) -> PathBuf {
        let folder = folder(self.pid);
        let path = fs::read_link(folder.join("cwd")).unwrap_or_default().join(path);
        folder.join("root").join(path.strip_prefix("/").unwrap_or(&path))
    }
}

/// All processes at one moment.
#[derive(Clone, Debug, Default)]
pub struct Table(BTreeMap<i32, Process>);

impl Table {
    /// Reads it; a process that ends meanwhile is left out.
    pub fn read() -> io::Result<Self> {
        let own = fs::read_link("/proc/self")?;
        if own.to_str().and_then(|pid| pid.parse().ok()) != Some(std::process::id()) {
            return Err(io::Error::other("/proc shows another pid namespace than ours"));
        }
        let numbers = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let processes = numbers.filter_map(|pid| Process::read(pid).ok()).filter(|process| !process.has_ended);
        Ok(processes.collect())
    }

    /// The process of this number.
    #[must_use]
    pub fn get(&self, pid: i32) -> Option<&Process> {
        self.0.get(&pid)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.0.values()
    }

    /// Whether `pid` is `ancestor`, or a child of it or of its children.
    #[must_use]
    pub fn descends(&self, pid: i32, ancestor: i32) -> bool {
        let mut at = Some(pid);
        // Numbers may have been given anew while the table was read, so a circle is thinkable.
        for _ in 0..=self.0.len() {
            match at {
                Some(pid) if pid == ancestor => return true,
                Some(pid) => at = self.get(pid).map(|process| process.parent),
                None => return false,
            }
        }
        false
    }
}

impl FromIterator<Process> for Table {
    fn from_iter<T: IntoIterator<Item = Process>>(processes: T) -> Self {
        Self(processes.into_iter().map(|process| (process.pid, process)).collect())
    }
}

fn folder(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// What a file of `/proc` holds, which says of each that it is empty: asking for their sizes would double what a look costs.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL);
    fs::File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn words(zero_separated: &[u8]) -> Vec<String> {
    let words = zero_separated.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The last part of a path, where it is one.
fn file_name(word: &str) -> &str {
    Path::new(word).file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The program that these words start, apart from an interpreter of Python before it, and the words after it.
fn program(words: &[String]) -> Option<(&str, &[String])> {
    let (first, mut rest) = words.split_first()?;
    let name = file_name(first);
    if !(name.starts_with("python") || name.starts_with("pypy")) {
        return Some((name, rest));
    }
    while let Some((word, after)) = rest.split_first() {
        match word.as_str() {
            "-m" => return after.split_first().map(|(module, rest)| (module.as_str(), rest)),
            "-W" | "-X" => rest = after.get(1..)?,
            option if option.starts_with('-') => rest = after,
            script => return Some((file_name(script), after)),
        }
    }
    None
}

#[cfg(test)]
pub(crate) fn process(pid: i32, parent: i32, line: &str) -> Process {
    Process { pid, parent, arguments: line.split(' ').map(ToOwned::to_owned).collect(), ..Process::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_what_it_likes() {
        let fields = (3..=52).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        let stat = format!("7 (a) Z (b) S 5 {}", fields.split_once(' ').unwrap().1.split_once(' ').unwrap().1);
        let process = Process::from_stat(&stat).unwrap();
        assert_eq!((process.name.as_str(), process.parent, process.started, process.has_ended), ("a) Z (b", 5, 22, false));
    }

    #[test]
    fn this_test_is_in_the_table_and_descends_from_its_parent() {
        let own = std::process::id().cast_signed();
        let table = Table::read().unwrap();
        let process = table.get(own).unwrap();
        assert!(process.is_alive() && process.is_ours());
        assert!(process.started().has_come());
        assert!(!process.catches(Signal::WINCH));
        assert_eq!(process.variable("PATH"), std::env::var("PATH").ok());
        assert!(table.descends(own, process.parent) && table.descends(own, own) && !table.descends(process.parent, own));
    }

    #[test]
    fn a_circle_of_numbers_has_an_end() {
        let table: Table = [process(5, 6, "a"), process(6, 5, "b")].into_iter().collect();
        assert!(!table.descends(5, 1));
    }

    #[test]
    fn the_program_is_known_behind_its_interpreter() {
        let name = |line: &str| program(&process(1, 0, line).arguments).map(|(name, _)| name.to_owned());
        assert_eq!(name("/venv/bin/python3.11 -u -W ignore /venv/bin/celery worker").as_deref(), Some("celery"));
        assert_eq!(name("/usr/bin/python -m gunicorn app").as_deref(), Some("gunicorn"));
        assert_eq!(name("timeout 5 gunicorn").as_deref(), Some("timeout"));
        assert_eq!(name("python3"), None);
    }
}
