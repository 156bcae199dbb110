//! The commands beside a running agent whose tree is a folder.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::cli::Run;

/// A running agent, killed when this is dropped.
pub struct Agent {
    pub run: Run,
    pub child: Child,
}

impl Agent {
    fn start() -> Self {
        Self::start_in(Self::place())
    }

    /// A folder with settings and a tree.
    pub fn place() -> Run {
        let port = free_port();
        let settings = format!(
            "source: {{directory: {{path: tree}}}}\ninstance: {{id: here}}\ncheck: {{require: none}}\nstate_dir: state\n\
             render: {{superset_config: {{path: out.py}}}}\nhttp: {{listen: \"127.0.0.1:{port}\"}}\n\
             superset: {{url: \"http://127.0.0.1:1\"}}\n"
        );
        let mut run =
            Run::new().file("a.yaml", &settings).env("SETKEEPER_CONFIG", "a.yaml").env("SETKEEPER_SECRET_SUPERSET", "x");
        for name in ["a", "b", "c", "d"] {
            run = run.file(&format!("tree/datasources/{name}.yaml"), &format!("sqlalchemy_uri: duckdb:////tmp/{name}.db\n"));
        }
        run.file("tree/config.yaml", "ROW_LIMIT: 5000\n")
    }

    pub fn start_in(run: Run) -> Self {
        Self::start_with(run, &["run"])
    }

    pub fn start_with(run: Run, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_setkeeper"));
        command.args(arguments).current_dir(run.dir.path()).env_clear().envs(run.env.iter().copied());
        let log = std::fs::File::create(run.dir.path().join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { run, child }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.run.dir.path().join("log")).unwrap()
    }

    fn status(&self) -> Option<Json> {
        serde_json::from_slice(&self.run.output(&["status", "-o", "json"]).stdout).ok()
    }

    pub fn status_where(&self, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        let began = Instant::now();
        loop {
            match self.status().filter(|status| wanted(status)) {
                Some(status) => return status,
                None => assert!(began.elapsed() < Duration::from_secs(20), "never {what}: {:?}", self.status()),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Agent {
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn state(status: &Json) -> &Json {
    &status["instances"][0]["state"]
}

#[test]
fn without_an_agent_a_folder_says_nothing_of_its_status() {
    let settings = "source: {directory: {path: tree}}\nhttp: {listen: \"127.0.0.1:1\"}\n";
    let run = Run::new().file("a.yaml", settings).file("tree/config.yaml", "").env("SETKEEPER_CONFIG", "a.yaml");
    insta::assert_snapshot!("agent-absent", run.shown(&["status"]));
    assert_eq!(run.output(&["datasource", "list"]).status.code(), Some(1));
}

#[test]
fn the_agent_is_asked_and_a_tree_that_lost_too_much_goes_on_once_confirmed() {
    let agent = Agent::start();
    let status = agent.status_where("in sync", |status| state(status) == "in_sync");
    let fares: Vec<_> = status["datasources"].as_array().unwrap().iter().map(|status| status["state"].clone()).collect();
    assert_eq!(fares, ["pending"; 4]);
    let list = agent.run.output(&["datasource", "list"]);
    assert!(String::from_utf8_lossy(&list.stdout).starts_with("DATASOURCE  STATE    DATABASE"), "{list:?}");
    let nothing = agent.run.shown(&["rollout", "confirm"]);
    assert!(nothing.contains("exit code: 1") && nothing.contains("there is nothing to confirm"), "{nothing}");

    for name in ["a", "b", "c"] {
        std::fs::remove_file(agent.run.dir.path().join(format!("tree/datasources/{name}.yaml"))).unwrap();
    }
    agent.status_where("held", |status| state(status) == "held");
    // What the agent accepted last is written down a moment later than it is said.
    let plan = agent.run.shown(&["plan", "--exit-code"]);
    assert!(plan.contains("exit code: 3") && plan.contains("error: the tree lost 3 of its 4 datasources at once"), "{plan}");
    let confirmed = agent.run.shown(&["rollout", "confirm"]);
    assert!(confirmed.contains("exit code: 0") && confirmed.contains("here held it: the tree lost 3 of its 4"), "{confirmed}");
    assert!(confirmed.contains("1 config nodes with content, 1 datasources"), "{confirmed}");
    agent.status_where("in sync again", |status| state(status) == "in_sync");
    let again = agent.run.shown(&["rollout", "confirm"]);
    assert!(again.contains("exit code: 0") && again.contains("is confirmed already"), "{again}");
}

#[test]
fn a_terminal_that_goes_away_stops_the_agent_cleanly_and_not_one_under_nohup() {
    use rustix::process::{Pid, Signal, kill_process};
    let mut agent = Agent::start();
    // Whoever runs these tests may run them under nohup, which a child inherits.
    for (wrapper, ends) in [(&["env", "--default-signal=HUP"][..], true), (&["nohup"], false)] {
        agent.kill();
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(env!("CARGO_BIN_EXE_setkeeper")).arg("run");
        command.current_dir(agent.run.dir.path()).env_clear().envs(agent.run.env.iter().copied());
        command.env("PATH", std::env::var_os("PATH").unwrap());
        agent.child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        agent.status_where("up", |status| status["instances"].is_array());
        kill_process(Pid::from_child(&agent.child), Signal::HUP).unwrap();
        if ends {
            assert_eq!(agent.child.wait().unwrap().code(), Some(0));
        } else {
            std::thread::sleep(Duration::from_millis(500));
            assert_eq!(agent.child.try_wait().unwrap(), None);
        }
    }
}

#[test]
fn a_name_that_hides_characters_hides_none_in_the_log() {
    for (format, shown) in
        [("text", ["ro\\u{202e}x\\n WARN", "instance=he\\u{202e}re"]), ("json", ["ro\\u202ex\\n WARN", "\"he\\u202ere\""])]
    {
        let run = Agent::place().env("SETKEEPER_LOG__FORMAT", format).env("SETKEEPER_INSTANCE__ID", "he\u{202e}re");
        let agent = Agent::start_in(run.file("tree/config/ro\u{202e}x\n WARN forged.yaml", "lower: 1\n"));
        agent.status_where("held", |status| state(status) == "held");
        let log = agent.log();
        assert!(shown.iter().all(|shown| log.contains(shown)), "{log}");
        assert!(!log.contains('\u{202e}') && !log.lines().any(|line| line.starts_with(" WARN forged")), "{log}");
        if format == "json" {
            let lines = log.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
            assert_eq!(lines.filter(|line| line["instance"] == "he\u{202e}re").count(), 1, "{log}");
        }
    }
}

#[test]
fn an_empty_variable_is_no_password() {
    let mut run = Agent::place();
    run.env.retain(|(name, _)| *name != "SETKEEPER_SECRET_SUPERSET");
    let said = run.env("SETKEEPER_SECRET_SUPERSET", "").shown(&["run"]);
    let expected = "error: failed to resolve superset.password\n  the environment variable SETKEEPER_SECRET_SUPERSET is empty\n";
    assert!(said.contains("exit code: 1") && said.contains(expected), "{said}");
}

#[test]
fn a_second_agent_that_would_render_the_same_file_does_not_start() {
    let mut first = Agent::start();
    first.status_where("in sync", |status| state(status) == "in_sync");
    let own = first.run.dir.path();
    let rendered = std::fs::read(own.join("out.py")).unwrap();
    let port = free_port();
    // Its own place but for the file, which it names another way.
    let shared = own.join("tree/../out.py");
    let settings = format!(
        "source: {{directory: {{path: tree}}}}\ncheck: {{require: none}}\nstate_dir: state\n\
         render: {{superset_config: {{path: {shared:?}}}}}\nhttp: {{listen: \"127.0.0.1:{port}\"}}\n"
    );
    let second =
        Run::new().file("b.yaml", &settings).file("tree/config.yaml", "ROW_LIMIT: 1\n").env("SETKEEPER_CONFIG", "b.yaml");
    let second = second.env("SETKEEPER_SECRET_SUPERSET", "x");
    let refused = second.shown(&["run"]);
    assert!(refused.contains("exit code: 1") && refused.contains("out.py is rendered by another agent"), "{refused}");
    assert!(refused.contains("give each agent files of its own to render"), "{refused}");
    for looks in ["check", "render", "plan"] {
        let looked = second.shown(&[looks]);
        assert!(looked.contains("exit code: 0"), "{looked}");
    }
    assert_eq!(std::fs::read(own.join("out.py")).unwrap(), rendered);

    let here = std::fs::read_dir(own).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut here: Vec<_> = here.collect();
    here.sort();
    assert_eq!(here, ["a.yaml", "empty.yaml", "log", "out.py", "state", "tree"], "a lock leaves nothing");
    // Killed without a word, the first is in nobody's way.
    first.kill();
    let second = Agent::start_in(second);
    second.status_where("in sync", |status| state(status) == "in_sync");
}

#[test]
fn a_deleted_state_folder_is_made_again_and_until_then_the_status_says_so() {
    let mut agent = Agent::start();
    agent.status_where("in sync", |status| state(status) == "in_sync");
    let folder = agent.run.dir.path().join("state");
    let kept = || ["key", "last-good.json"].map(|name| std::fs::read(folder.join(name)).ok());
    let began = Instant::now();
    while kept().iter().any(Option::is_none) {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is remembered");
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = kept();
    std::fs::remove_dir_all(&folder).unwrap();
    // Nothing can be made where this lies.
    std::fs::write(&folder, "in the way").unwrap();
    let told = |status: &Json| status["instances"][0]["error"].as_str().is_some_and(|error| error.contains("remember"));
    let status = agent.status_where("told", told);
    assert_eq!(state(&status), "in_sync", "what runs goes on");
    std::thread::sleep(Duration::from_secs(6));
    assert!(told(&agent.status().unwrap()), "for as long as it lasts");
    std::fs::remove_file(&folder).unwrap();
    agent.status_where("healed", |status| !told(status));
    assert_eq!(kept(), before, "the key, too, or the next start would push everything anew");
    let log = agent.log();
    assert_eq!(log.matches("ERROR").count(), 1, "{log}");
    assert!(log.contains("is remembered again"), "{log}");
    // It is held again.
    let second = agent.run.output(&["run"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("is in use by another agent"), "{said}");
    agent.kill();
}
