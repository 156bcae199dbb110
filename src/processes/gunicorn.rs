//! Gunicorn as it looks among the processes: its masters, their successors, and what a master was told.
//!
//! A master is a gunicorn whose parent is none; its workers are its children. After USR2 the old master has one child more: its
//! successor, which bears `GUNICORN_PID=<old>` in its environment. [`Options`] reads arguments, `GUNICORN_CMD_ARGS` and the config file
//! where they may be read, as text: nothing of another user's is run.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Process, Table, file_name, program};

/// The variable in which a successor is told its predecessor.
const PREDECESSOR: &str = "GUNICORN_PID";

/// Whether a process is a gunicorn, master or worker; with setproctitle the whole line is "gunicorn: master [...]".
#[must_use]
pub fn is(process: &Process) -> bool {
    is_titled(&process.arguments)
        || program(&process.arguments).is_some_and(|(name, _)| name == "gunicorn" || name.starts_with("gunicorn."))
}

fn is_titled(arguments: &[String]) -> bool {
    arguments.join(" ").starts_with("gunicorn: master")
}

/// Every master that is nobody's successor, or whose predecessor has ended.
pub fn masters(table: &Table) -> impl Iterator<Item = &Process> {
    table.iter().filter(|process| is(process) && !table.get(process.parent).is_some_and(is))
}

/// Whom this process succeeds, or has succeeded; its workers bear the same.
#[must_use]
pub fn predecessor(process: &Process) -> Option<i32> {
    process.variable(PREDECESSOR)?.parse().ok()
}

/// The successor of the master `old`, while both are there.
#[must_use]
pub fn successor(table: &Table, old: i32) -> Option<&Process> {
    table.iter().find(|process| process.parent == old && is(process) && predecessor(process) == Some(old))
}

/// Whether a master still listens where its successor does: one that was told to end has closed what they share.
#[must_use]
pub fn listens_with(old: &Process, new: &Process) -> bool {
    !old.sockets().is_disjoint(&new.sockets())
}

/// Whether this master has loaded Superset itself, however it was told to: that loads pandas, which gunicorn never does.
#[must_use]
pub fn has_loaded_superset(master: &Process) -> bool {
    ["site-packages", "dist-packages"].iter().any(|packages| master.has_loaded_from(&format!("{packages}/pandas")))
}

/// What a master was told when it was started.
#[derive(Debug, Default)]
pub struct Options {
    arguments: Vec<String>,
    /// `GUNICORN_CMD_ARGS` of its environment, where we may read that.
    by_environment: String,
    /// The text of its config file, where it has one that we may read.
    by_file: String,
    /// Where its environment of Python is.
    prefix: Option<PathBuf>,
}

impl Options {
    /// Those of this master.
    #[must_use]
    pub fn of(master: &Process) -> Self {
        let by_environment = master.variable("GUNICORN_CMD_ARGS").unwrap_or_default();
        let mut options = Self { arguments: master.arguments.clone(), by_environment, ..Self::default() };
        let file = options.value("-c", "--config").unwrap_or("gunicorn.conf.py").trim_start_matches("file:").to_owned();
        options.by_file = fs::read_to_string(master.file(Path::new(&file))).unwrap_or_default();
        let script = options.arguments.iter().find(|word| word.contains('/') && file_name(word) == "gunicorn");
        let prefix = script.and_then(|script| Some(Path::new(script).parent()?.parent()?.to_owned()));
        options.prefix = prefix.map(|prefix| master.file(&prefix));
        options
    }

    /// In gunicorn's own order: what comes later wins, and the command line over the environment.
    fn all(&self) -> impl Iterator<Item = &str> {
        self.by_environment.split_whitespace().chain(self.arguments.iter().map(String::as_str))
    }

    fn value(&self, short: &str, long: &str) -> Option<&str> {
        let (mut words, mut last) = (self.all(), None);
        while let Some(word) = words.next() {
            if word == short || word == long {
                last = words.next();
                continue;
            }
            let joined = |name: &str| word.strip_prefix(name).map(|rest| rest.trim_start_matches('='));
            let value = if word.starts_with("--") {
                joined(&format!("{long}="))
            } else {
                Some(short).filter(|short| !short.is_empty()).and_then(joined)
            };
            last = value.filter(|value| !value.is_empty()).or(last);
        }
        last
    }

    /// What the config file sets this name to, as it stands there.
    fn in_file(&self, name: &str) -> Option<&str> {
        let set = |line: &'_ str| Some(line.strip_prefix(name)?.trim_start().strip_prefix('=')?.len());
        let line = self.by_file.lines().rev().find(|line| set(line).is_some())?;
        Some(line[line.len() - set(line)?..].trim())
    }

    fn is_on(&self, flag: &str, name: &str) -> bool {
        self.all().any(|word| word == flag) || self.in_file(name).is_some_and(|value| value.starts_with("True"))
    }

    /// Whether the app was loaded before the workers were forked, so that a HUP never loads a new config.
    #[must_use]
    pub fn preloads(&self) -> bool {
        self.is_on("--preload", "preload_app")
    }

    /// Whether each master opens a socket of its own.
    #[must_use]
    pub fn reuses_port(&self) -> bool {
        self.is_on("--reuse-port", "reuse_port")
    }

    /// Whether a title stands where its arguments were, so that nobody can say how it was started.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        is_titled(&self.arguments)
    }

    /// Whether it was started as `python -m gunicorn`.
    #[must_use]
    pub fn is_module(&self) -> bool {
        self.arguments.windows(2).any(|pair| pair[0] == "-m" && pair[1].starts_with("gunicorn"))
            // Python puts the module's own path in the place of its name once it runs.
            || self.arguments.iter().take(3).any(|word| word.ends_with("gunicorn/__main__.py"))
    }

    /// Whether requests are served by threads of a worker.
    #[must_use]
    pub fn is_threaded(&self) -> bool {
        let class = self.value("-k", "--worker-class").or_else(|| self.in_file("worker_class"));
        let threads = self.value("", "--threads").or_else(|| self.in_file("threads")).and_then(|text| text.parse().ok());
        match class.map(|class| class.trim_matches(['"', '\''])) {
            Some("sync") | None => threads.is_some_and(|threads: u32| threads > 1),
            Some(class) => class == "gthread",
        }
    }

    /// Where it writes its pid.
    #[must_use]
    pub fn pid_file(&self) -> Option<&Path> {
        let in_file = || self.in_file("pidfile").map(|text| text.trim_matches(['"', '\'']));
        self.value("-p", "--pid").or_else(in_file).map(Path::new)
    }

    /// Its major version, by the name of the folder that its installation left.
    #[must_use]
    pub fn major_version(&self) -> Option<u32> {
        let libraries = fs::read_dir(self.prefix.as_ref()?.join("lib")).ok()?;
        let packages = libraries.filter_map(|entry| {
            let folder = entry.ok()?.path();
            fs::read_dir(folder.join("site-packages")).or_else(|_| fs::read_dir(folder.join("dist-packages"))).ok()
        });
        let mut names = packages.flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.find_map(|name| name.strip_prefix("gunicorn-")?.split('.').next()?.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::super::process;
    use super::*;

    fn options(line: &str) -> Options {
        Options { arguments: process(1, 0, line).arguments, ..Options::default() }
    }

    fn by_file(text: &str) -> Options {
        Options { by_file: text.to_owned(), ..Options::default() }
    }

    #[test]
    fn a_gunicorn_is_known_by_its_arguments() {
        for line in [
            "/venv/bin/python /venv/bin/gunicorn --bind x superset.app:create_app()",
            "gunicorn: master [superset.app:create_app()]",
            "python -m gunicorn app",
            "/venv/bin/python -u /venv/bin/gunicorn app",
            "gunicorn app",
        ] {
            assert!(is(&process(1, 0, line)), "{line}");
        }
        for line in
            ["vi /etc/gunicorn.conf", "gunicorn: worker [app]", "bash", "", "tail -f -n 5 /x/gunicorn", "tini gunicorn app"]
        {
            assert!(!is(&process(1, 0, line)), "{line}");
        }
    }

    #[test]
    fn a_master_is_the_one_whose_parent_is_none() {
        let line = "/venv/bin/python /venv/bin/gunicorn app";
        let lines = [(10, 1, "timeout 9 gunicorn app"), (11, 10, line), (12, 11, line), (13, 11, line), (20, 1, line)];
        let table: Table = lines.into_iter().map(|(pid, parent, line)| process(pid, parent, line)).collect();
        assert_eq!(masters(&table).map(|process| process.pid).collect::<Vec<_>>(), [11, 20]);
    }

    #[test]
    fn options_are_seen_wherever_they_are_set() {
        assert!(options("python gunicorn --preload app").preloads());
        assert!(Options { by_environment: "--workers 2 --preload".to_owned(), ..Options::default() }.preloads());
        assert!(by_file("workers = 2\npreload_app = True\n").preloads());
        assert!(!by_file("# preload_app = True\npreload_app = False").preloads());
        assert!(options("gunicorn --reuse-port app").reuses_port() && by_file("reuse_port=True").reuses_port());
        assert!(options("gunicorn: master [app]").is_hidden() && !options("python gunicorn app").is_hidden());
        assert!(options("python -m gunicorn app").is_module() && !options("python gunicorn app").is_module());
    }

    #[test]
    fn threads_are_a_class_of_their_own() {
        for line in
            ["gunicorn -k gthread a", "gunicorn --worker-class=gthread a", "gunicorn --threads 8 a", "gunicorn -kgthread a"]
        {
            assert!(options(line).is_threaded(), "{line}");
        }
        for line in ["gunicorn a", "gunicorn -k gevent --threads 8 a", "gunicorn --threads 1 a"] {
            assert!(!options(line).is_threaded(), "{line}");
        }
        let both = |environment: &str, line: &str| Options { by_environment: environment.to_owned(), ..options(line) };
        assert!(both("-k gevent", "gunicorn -k gthread a").is_threaded(), "the command line wins");
        assert!(!both("-k gthread", "gunicorn --worker-class=gevent a").is_threaded());
        assert!(both("-k gthread", "gunicorn a").is_threaded());
        assert!(!options("gunicorn -k gthread -k gevent a").is_threaded(), "the last wins");
        assert!(by_file("worker_class = 'gthread'").is_threaded() && by_file("threads = 4").is_threaded());
    }

    #[test]
    fn the_config_file_is_found_in_each_spelling() {
        for line in ["gunicorn -c x.py", "gunicorn -cx.py", "gunicorn --config x.py", "gunicorn --config=x.py"] {
            assert_eq!(options(line).value("-c", "--config"), Some("x.py"), "{line}");
        }
        assert_eq!(options("gunicorn --capture-output a").value("-c", "--config"), None);
    }
}
