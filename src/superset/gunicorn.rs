//! The gunicorn that runs Superset, found by its pid file, and the HUP that makes it load a new config.
//!
//! A pid file may be older than the process that has its pid now. So the process is pinned by a pidfd first, then looked at in
//! `/proc`, and only that pinned process is signalled: a stranger never is. A master with `--preload` is refused, because it
//! would restart its workers from the config it loaded long ago (0 of 364 requests saw the new one).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use thiserror::Error;

/// Why gunicorn cannot be made to reload.
#[derive(Debug, Error)]
pub enum GunicornError {
    /// The pid file is not there or cannot be read; gunicorn writes one only with `--pid`.
    #[error("failed to read the pid file {}", .path.display())]
    PidFile {
        /// The pid file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The pid file holds something else.
    #[error("the pid file {} holds no pid", .path.display())]
    NoPid {
        /// The pid file.
        path: PathBuf,
    },
    /// The pid file names a process that is gone, or another one that has its pid by now.
    #[error("the pid file {} is stale: process {pid} is {what}", .path.display())]
    Stale {
        /// The pid file.
        path: PathBuf,
        /// The pid in it.
        pid: i32,
        /// What is there instead.
        what: String,
    },
    /// The master has loaded the app before it forked, so that HUP never loads a new config.
    #[error("gunicorn {pid} runs with preload, so a HUP would not load the new config")]
    Preload {
        /// The master's pid.
        pid: i32,
    },
    /// The signal was not allowed.
    #[error("failed to signal gunicorn {pid}")]
    Signal {
        /// The master's pid.
        pid: i32,
        /// Why.
        source: io::Error,
    },
}

impl GunicornError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::PidFile { .. } => Some("start gunicorn with `--pid FILE` and name the same file in `reload.pid_file`"),
            Self::Preload { .. } => Some("start gunicorn without preload, or set `reload.command` to what restarts it"),
            Self::Signal { .. } => Some("run the agent as the same user as gunicorn, in the same process namespace"),
            Self::NoPid { .. } | Self::Stale { .. } => None,
        }
    }
}

/// Sends HUP to the master that `pid_file` names, and answers with its pid.
pub fn hup(pid_file: &Path) -> Result<i32, GunicornError> {
    let path = || pid_file.to_owned();
    let text = fs::read_to_string(pid_file).map_err(|source| GunicornError::PidFile { path: path(), source })?;
    let number = text.trim().parse::<i32>().ok().filter(|pid| *pid > 1);
    let pid = number.and_then(Pid::from_raw).ok_or_else(|| GunicornError::NoPid { path: path() })?;
    let number = pid.as_raw_nonzero().get();
    let stale = |what: String| GunicornError::Stale { path: path(), pid: number, what };
    let signal = |errno: Errno| GunicornError::Signal { pid: number, source: errno.into() };

    let pinned = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pinned) => Some(pinned),
        Err(Errno::SRCH) => return Err(stale("gone".to_owned())),
        // Linux before 5.3 cannot pin; what is left is the moment between looking and signalling.
        Err(Errno::NOSYS) => None,
        Err(errno) => return Err(signal(errno)),
    };
    let process = Process::read(number).map_err(|_| stale("gone".to_owned()))?;
    if !process.is_gunicorn() {
        return Err(stale(format!("{:?}", process.name)));
    }
    if process.preloads() {
        return Err(GunicornError::Preload { pid: number });
    }
    match pinned {
        Some(pinned) => pidfd_send_signal(pinned, Signal::HUP),
        None => kill_process(pid, Signal::HUP),
    }
    .map_err(|errno| if errno == Errno::SRCH { stale("gone".to_owned()) } else { signal(errno) })?;
    Ok(number)
}

/// What `/proc` tells of a process.
#[derive(Debug, Default)]
struct Process {
    name: String,
    arguments: Vec<String>,
    /// `GUNICORN_CMD_ARGS` of its environment, where we may read that.
    by_environment: String,
    /// The text of its config file, where it has one that we may read.
    by_file: String,
}

impl Process {
    fn read(pid: i32) -> io::Result<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let name = fs::read_to_string(folder.join("comm"))?.trim().to_owned();
        let arguments = words(&fs::read(folder.join("cmdline"))?);
        let environment = words(&fs::read(folder.join("environ")).unwrap_or_default());
        let by_environment = environment.iter().find_map(|entry| entry.strip_prefix("GUNICORN_CMD_ARGS="));
        let mut process =
            Self { name, arguments, by_environment: by_environment.unwrap_or_default().to_owned(), ..Self::default() };
        let file = process.config_file().unwrap_or("gunicorn.conf.py");
        process.by_file = fs::read_to_string(folder.join("root").join(relative(&folder, file))).unwrap_or_default();
        Ok(process)
    }

    /// Gunicorn's script is an argument of Python's; with setproctitle the whole line is "gunicorn: master [...]".
    fn is_gunicorn(&self) -> bool {
        let is_script = |word: &String| Path::new(word).file_name().is_some_and(|name| name == "gunicorn");
        let by_module = self.arguments.windows(2).any(|pair| pair[0] == "-m" && pair[1].starts_with("gunicorn"));
        let titled = self.arguments.join(" ").starts_with("gunicorn: master");
        titled || by_module || self.arguments.iter().take(3).any(is_script)
    }

    fn all_arguments(&self) -> impl Iterator<Item = &str> {
        self.by_environment.split_whitespace().chain(self.arguments.iter().map(String::as_str))
    }

    fn config_file(&self) -> Option<&str> {
        let mut arguments = self.all_arguments();
        while let Some(argument) = arguments.next() {
            let file = match argument {
                "-c" | "--config" => arguments.next(),
                other => other.strip_prefix("--config=").or_else(|| other.strip_prefix("-c").filter(|file| !file.is_empty())),
            };
            if let Some(file) = file {
                return Some(file.trim_start_matches("file:"));
            }
        }
        None
    }

    fn preloads(&self) -> bool {
        let sets = |line: &str| line.strip_prefix("preload_app").is_some_and(|rest| rest.contains('=') && rest.contains("True"));
        self.all_arguments().any(|argument| argument == "--preload") || self.by_file.lines().any(sets)
    }
}

/// The path of a file of the process, below the root that it sees.
fn relative(process: &Path, file: &str) -> PathBuf {
    let folder = fs::read_link(process.join("cwd")).unwrap_or_default();
    let path = folder.join(file);
    path.strip_prefix("/").map(ToOwned::to_owned).unwrap_or(path)
}

fn words(zero_separated: &[u8]) -> Vec<String> {
    let words = zero_separated.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn process(line: &str) -> Process {
        Process { arguments: line.split(' ').map(ToOwned::to_owned).collect(), ..Process::default() }
    }

    #[test]
    fn a_gunicorn_is_known_by_its_arguments() {
        for line in [
            "/venv/bin/python /venv/bin/gunicorn --bind x superset.app:create_app()",
            "gunicorn: master [superset.app:create_app()]",
            "python -m gunicorn app",
            "/venv/bin/python -u /venv/bin/gunicorn app",
        ] {
            assert!(process(line).is_gunicorn(), "{line}");
        }
        for line in ["vi /etc/gunicorn.conf", "gunicorn: worker [app]", "bash", "", "tail -f -n 5 /x/gunicorn"] {
            assert!(!process(line).is_gunicorn(), "{line}");
        }
    }

    #[test]
    fn preload_is_seen_wherever_it_is_set() {
        assert!(process("python gunicorn --preload app").preloads());
        assert!(Process { by_environment: "--workers 2 --preload".to_owned(), ..Process::default() }.preloads());
        assert!(Process { by_file: "workers = 2\npreload_app = True\n".to_owned(), ..Process::default() }.preloads());
        assert!(!Process { by_file: "# preload_app = True\npreload_app = False".to_owned(), ..Process::default() }.preloads());
    }

    #[test]
    fn the_config_file_is_found_in_each_spelling() {
        for line in ["gunicorn -c x.py", "gunicorn -cx.py", "gunicorn --config x.py", "gunicorn --config=file:x.py"] {
            assert_eq!(process(line).config_file(), Some("x.py"), "{line}");
        }
    }

    #[test]
    fn a_stranger_with_the_pid_of_a_stale_file_is_not_signalled() {
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{}\n", stranger.id())).unwrap();
        let error = hup(file.path()).unwrap_err();
        assert!(error.to_string().contains(&format!("is stale: process {} is ", stranger.id())), "{error}");
        assert!(stranger.try_wait().unwrap().is_none(), "the stranger has ended");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert!(matches!(hup(file.path()).unwrap_err(), GunicornError::Stale { .. }));
    }

    #[test]
    fn a_file_without_a_pid_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "x", "0", "1", "-7"] {
            fs::write(file.path(), text).unwrap();
            assert!(matches!(hup(file.path()).unwrap_err(), GunicornError::NoPid { .. }), "{text:?}");
        }
        let error = hup(Path::new("/nowhere/pid")).unwrap_err();
        assert_eq!(error.to_string(), "failed to read the pid file /nowhere/pid");
        assert!(error.hint().is_some());
    }
}
