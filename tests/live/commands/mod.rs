//! The commands on a real ZooKeeper, as people run them: exit code, stdout and stderr of the program itself.

mod datasources;
mod edits;
mod history;
mod looks;
mod pushes;
mod second_writer;
mod trees;
mod watching;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::server::Server;

/// A place to run commands in, with settings that name a server.
struct Shell {
    dir: TempDir,
}

/// How a command ended.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Shell {
    fn new(server: &Server) -> Self {
        Self::at(&server.connect(), "")
    }

    fn at(connect: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = format!(
            "source: {{zookeeper: {{connect: \"{connect}\", session_timeout: 5s}}}}\ncheck: {{require: none}}\nstate_dir: state\n\
             render: {{superset_config: {{path: out.py}}}}\n{more}\n"
        );
        fs::write(dir.path().join("a.yaml"), settings).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_setkeeper"));
        command.args(arguments).current_dir(self.dir.path()).env_clear().env("SETKEEPER_CONFIG", "a.yaml").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        Said::from(self.command(arguments).output().unwrap())
    }

    /// What a command prints that must succeed.
    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        said.out
    }

    /// What a command says that must fail.
    #[track_caller]
    fn fails(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 1, "{arguments:?}: {}{}", said.out, said.err);
        said.err
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Json {
        serde_json::from_str(&self.ok(&[arguments, &["-o", "json"]].concat())).unwrap()
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}
