//! Why a check could not be made. None of it is the candidate's fault, so each becomes an inconclusive report.

use std::io;
use std::path::PathBuf;

use super::env_file::EnvFileError;
use super::report::Report;

/// Why a check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no `superset` to ask for its Python.
    #[error("failed to find Superset's Python: there is no `superset` on PATH")]
    NoProgram,
    /// The `superset` on the path does not say which Python runs it.
    #[error("failed to find Superset's Python: {} does not begin with its path", program.display())]
    NoInterpreter {
        /// The program.
        program: PathBuf,
    },
    /// The Python has no Superset.
    #[error("{} has no Superset", python.display())]
    NoSuperset {
        /// The Python.
        python: PathBuf,
    },
    /// Superset would refuse the path, whatever lies there.
    #[error("Superset loads no config from {}: its name does not end in .py", path.display())]
    NotPython {
        /// The path.
        path: PathBuf,
    },
    /// The Python could not be started, or not made to answer.
    #[error("failed to run {}", python.display())]
    Run {
        /// The Python.
        python: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program of ours ended without an answer.
    #[error("failed to {what}: {why}")]
    Silent {
        /// What it was to do.
        what: &'static str,
        /// How it ended.
        why: String,
        /// The end of what it said, without secrets.
        last_lines: Vec<String>,
    },
    /// Superset's environment could not be read.
    #[error("failed to read Superset's environment from {}", path.display())]
    EnvFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Superset's environment has lines that say nothing.
    #[error("failed to understand Superset's environment in {}", path.display())]
    EnvLines {
        /// The file.
        path: PathBuf,
        /// The first of them, and how many there are.
        source: EnvFileError,
    },
    /// The scratch folder or the template could not be written.
    #[error("failed to write {}", path.display())]
    Scratch {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent makes the template, and does not come to an end.
    #[error("failed to wait for the database template that another check makes")]
    TemplateBusy,
}

impl CheckError {
    /// What a person can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoProgram | Self::NoInterpreter { .. } | Self::NoSuperset { .. } | Self::Run { .. } => {
                Some("set check.python to Superset's own Python, such as /app/.venv/bin/python")
            }
            Self::NotPython { .. } => Some("give render.superset_config.path a name that ends in .py"),
            Self::EnvLines { .. } => Some("write one NAME=value a line"),
            Self::EnvFile { .. } => Some("let this agent's user read the file that check.env_file names"),
            Self::Scratch { .. } => Some("set state_dir to a folder that this agent's user may write, with some space left"),
            Self::Silent { .. } | Self::TemplateBusy => None,
        }
    }

    /// The report that it comes to.
    #[must_use]
    pub fn report(self) -> Report {
        let mut why = self.to_string();
        let mut source = std::error::Error::source(&self);
        while let Some(cause) = source {
            why.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        if let Some(hint) = self.hint() {
            why.push_str(&format!(" ({hint})"));
        }
        let mut report = Report::inconclusive(why);
        if let Self::Silent { last_lines, .. } = self {
            report.last_lines = last_lines;
        }
        report
    }
}
