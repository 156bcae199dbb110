//! Releases on their way through a cluster of real Supersets, with a real ZooKeeper and every check.
//!
//! A [`Crew`] is some instances of one cluster, each an agent beside a Superset of its own: supervised and reloaded by handoff, or
//! found by its pid file and told by HUP. What is asserted is what users of Superset would see.

mod boot;
mod broken;
mod faults;
mod good;
mod held;
mod rekeyed;

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;

use crate::check::support::{PATIENT, candidate, check, checker, shared_folder};
use crate::support::eventually;
use crate::support::load::Load;
use crate::support::program::Agent;
use crate::support::server::Server;
use crate::support::services::{Superset, python};
use crate::support::tree::Tree;

/// A proof may take so long: a gunicorn that starts beside two under load on a busy machine takes half of it.
const VERIFY: Duration = Duration::from_secs(60);

/// A variable of Superset's environment, which agents share.
const VARIABLE: (&str, &str) = ("ROLLOUT_TITLE", "a title");

/// Breaks every answer where a setting says so, and only in the process that really serves.
const BREAKS: &str = "
import sys
def _break(app):
    if app.config.get('BREAKS_FOR_REAL') and 'gunicorn' in sys.argv[0]:
        app.before_request(lambda: ('broken', 500))
FLASK_APP_MUTATOR = _break
";

/// One instance.
struct Member {
    agent: Agent,
    superset: Superset,
    is_beside: bool,
}

/// The instances of one cluster.
struct Crew {
    zookeeper: Server,
    tree: Tree,
    members: Vec<Member>,
}

impl Member {
    fn new(cluster: &str, id: &str, connect: &str) -> Self {
        let superset = Superset::place("", &[VARIABLE]);
        let agent = Agent::new(cluster, id, connect, &superset.url)
            .with("datasources", json!({"push": false, "resync": "2s"}))
            .with("check", json!({"require": "app", "python": python(), "timeout": format!("{}s", PATIENT.as_secs())}))
            .with("verify", json!({"timeout": format!("{}s", VERIFY.as_secs())}))
            .with("log", json!({"level": "setkeeper=debug,info"}))
            .with("render.allow_env", json!([VARIABLE.0]))
            .with_variable(VARIABLE.0, VARIABLE.1);
        let config = agent.path("superset_config.py");
        let agent = agent.with("render.superset_config", json!({"path": config, "base": superset.base()}));
        let templates = agent.path("state/check/templates");
        fs::create_dir_all(&templates).unwrap();
        for entry in fs::read_dir(shared_folder().join("check/templates")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), templates.join(entry.file_name())).unwrap();
        }
        Self { agent, superset, is_beside: false }
    }

    /// With a Superset that passes every check with `BREAKS_FOR_REAL: true`, and then answers with failures.
    fn breakable(self) -> Self {
        let base = fs::read_to_string(self.superset.base()).unwrap();
        fs::write(self.superset.base(), format!("{base}{BREAKS}")).unwrap();
        self
    }

    /// With Superset's command supervised.
    fn supervising(mut self) -> Self {
        let words = self.superset.words(&self.agent.path("superset_config.py"));
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        self.agent = self.agent.supervising(&words);
        self
    }

    /// With Superset found by its pid file.
    fn beside(mut self) -> Self {
        self.agent.set("reload", json!({"strategy": "hup", "pid_file": self.superset.pid_file}));
        self.superset.config = self.agent.path("superset_config.py");
        self.is_beside = true;
        self
    }

    async fn own(&self) -> Json {
        self.agent.status().await.map(|status| status["instance"].clone()).unwrap_or_default()
    }

    /// Waits until it runs what is published now, and Superset says so.
    async fn runs(&self, line: &str) {
        self.agent.has_line(line).await;
        let revision = self.agent.in_sync().await["instance"]["applied"]["revision"].as_str().unwrap().to_owned();
        assert!(self.agent.has_line(line).await.contains(&revision));
        assert_eq!(self.superset.revision().await.as_deref(), Some(&*revision), "{}", self.agent.id);
    }

    /// Waits until it is held, for a reason that says this.
    async fn is_held(&self, why: &str) -> String {
        let what = format!("held: {why}");
        let is_held = |status: &Json| {
            let own = &status["instance"];
            own["state"] == "held" && own["error"].as_str().is_some_and(|error| error.contains(why))
        };
        self.agent.status_where(&what, is_held).await["instance"]["error"].as_str().unwrap().to_owned()
    }
}

impl Crew {
    /// So many, as `make` makes each; started, and on the first release.
    async fn of(cluster: &str, count: usize, make: impl Fn(Member) -> Member) -> Self {
        let mut crew = Self::at_rest(cluster, count, make).await;
        crew.start().await;
        crew
    }

    /// The same, not started.
    async fn at_rest(cluster: &str, count: usize, make: impl Fn(Member) -> Member) -> Self {
        template().await;
        let zookeeper = Server::start().await;
        let tree = Tree::at(&zookeeper.connect()).await;
        tree.fragment("10-base", "ROW_LIMIT: 1").await;
        let connect = zookeeper.connect();
        let members = (1..=count).map(|n| make(Member::new(cluster, &format!("web-{n}"), &connect))).collect();
        Self { zookeeper, tree, members }
    }

    async fn start(&mut self) {
        for member in &mut self.members {
            member.agent.start().await;
            member.agent.has_line("ROW_LIMIT = 1").await;
            if member.is_beside {
                member.superset.start().await;
            }
        }
        for member in &self.members {
            member.runs("ROW_LIMIT = 1").await;
        }
        self.completed().await;
    }

    /// Waits until what is published is noted as completed.
    async fn completed(&self) -> String {
        let release = self.members[0].own().await["desired"]["release"].as_str().unwrap().to_owned();
        eventually("the release is completed", async || {
            let rollout = self.tree.json("rollout").await?;
            (rollout["completed"] == *release).then_some(())
        })
        .await;
        release
    }

    /// A load on each Superset.
    fn loads(&self) -> Vec<Load> {
        self.members.iter().map(|member| Load::on(&member.superset.url)).collect()
    }

    /// What each Superset says it runs.
    async fn revisions(&self) -> Vec<Option<String>> {
        let mut all = Vec::new();
        for member in &self.members {
            all.push(member.superset.revision().await);
        }
        all
    }

    /// What is in quarantine.
    async fn quarantine(&self) -> Vec<Json> {
        let rollout = self.tree.json("rollout").await.unwrap_or_default();
        rollout["quarantine"].as_array().cloned().unwrap_or_default()
    }

    /// Who holds a slot now.
    async fn slots(&self) -> Vec<String> {
        let mut holders = Vec::new();
        for name in self.tree.names("slots").await {
            if let Some(slot) = self.tree.json(&format!("slots/{name}")).await {
                holders.push(slot["instance"].as_str().unwrap_or_default().to_owned());
            }
        }
        holders
    }
}

/// Sees to it that the check's database was made once for all.
async fn template() {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(async || drop(check(&checker(PATIENT), &candidate("")).await)).await;
    assert!(Path::new(&shared_folder().join("check/templates")).exists());
}
