//! Another `SECRET_KEY`, by the steps of `docs/operate.md` taken at their word: its commands, its edit and its script are cut out
//! of it and carried out, on two Supersets that share what they store. Only where its files lie is the test's own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::{Crew, Member};
use crate::support::PATIENCE;
use crate::support::person::Person;
use crate::support::services::{Superset, mariadb, mariadb_statements, python};

const PROGRAM: &str = env!("CARGO_BIN_EXE_setkeeper");
const DOCUMENT: &str = include_str!("../../../docs/operate.md");
const STEPS: &str = "## Rotate SECRET_KEY";
const SCRIPT: &str = "### A script that encrypts anew";
const FRAGMENT: &str = "50-cli";

/// Prints the URI of the connection whose id it is given, with its password.
const READS: &str = "
import sys
from superset.app import create_app
with create_app().app_context():
    from superset.extensions import db
    from superset.models.core import Database
    print(db.session.get(Database, int(sys.argv[1])).sqlalchemy_uri_decrypted)
";

/// Somebody on a host, with the document before them and a folder for its files.
struct Operator {
    folder: TempDir,
}

impl Operator {
    fn new() -> Self {
        let operator = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(operator.path("secrets")).unwrap();
        operator
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// What the document says, about files in the operator's folder.
    fn own(&self, text: &str) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        text.replace("/tmp/", &path("")).replace("/run/secrets", &path("secrets"))
    }

    /// The document's only block of this language below this heading.
    fn block(&self, heading: &str, language: &str) -> String {
        let [block] = self.blocks::<1>(heading, language);
        block
    }

    /// The document's blocks of this language below this heading.
    fn blocks<const N: usize>(&self, heading: &str, language: &str) -> [String; N] {
        let (_, below) = DOCUMENT.split_once(&format!("\n{heading}\n")).unwrap();
        let section = below.split("\n##").next().unwrap();
        let begin = format!("\n```{language}\n");
        let blocks = section.split(&begin).skip(1);
        let blocks: Vec<_> = blocks.map(|block| self.own(block.split_once("\n```").unwrap().0)).collect();
        blocks.try_into().unwrap_or_else(|blocks| panic!("{heading} has other blocks of {language}: {blocks:?}"))
    }

    /// Carries out commands as Superset's user, in its environment, on its host. Whatever is edited becomes what is written down.
    async fn carry_out(&self, member: &Member, commands: &str) {
        let settings = member.agent.words(&[]).pop().unwrap();
        let folders = [Path::new(PROGRAM), &python()].map(|program| program.parent().unwrap().to_owned());
        let path = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path))).unwrap();
        let shell = tokio::process::Command::new("sh")
            .args(["-euc", commands])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("EDITOR", format!("cp {}", self.path("edited").display()))
            .env_remove("VISUAL")
            .env("SETKEEPER_CONFIG", settings)
            .env("SUPERSET_HOME", &member.superset.home)
            .kill_on_drop(true)
            .output();
        let done = tokio::time::timeout(2 * PATIENCE, shell).await.expect("the commands did not end").unwrap();
        let [out, err] = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        println!("{commands}\n{out}{err}");
        assert!(done.status.success(), "{commands}\nended with {}", done.status);
    }
}

/// What is stored of a connection, as a Superset with this config reads it, or what it says instead.
async fn stored(superset: &Superset, id: i64, config: &Path) -> Result<String, String> {
    let python = tokio::process::Command::new(python())
        .args(["-c", READS, &id.to_string()])
        .env("SUPERSET_CONFIG_PATH", config)
        .env("SUPERSET_HOME", &superset.home)
        .output();
    let done = python.await.unwrap();
    let [out, err] = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap());
    if done.status.success() { Ok(out.lines().last().unwrap().to_owned()) } else { Err(err) }
}

impl Crew {
    /// Lets the second Superset store everything where the first does.
    fn share_what_they_store(&self) {
        let [first, second] = [0, 1].map(|at: usize| &self.members[at].superset);
        let base = fs::read_to_string(second.base()).unwrap();
        let uri = format!("SQLALCHEMY_DATABASE_URI = 'sqlite:///{}'\n", first.home.join("superset.db").display());
        fs::write(second.base(), base + &uri).unwrap();
    }

    /// Starts every agent again, with these as what a release may change.
    async fn allows(&mut self, names: &[&str]) {
        for member in &mut self.members {
            let before = member.superset.revision().await;
            member.agent.stop().await;
            member.agent.set("rollout.allow_protected", json!(names));
            if member.is_beside {
                assert_eq!(member.superset.revision().await, before, "superset serves on");
            }
            member.agent.start().await;
        }
        self.run_it().await;
    }

    /// Waits until all run what is published.
    async fn run_it(&self) {
        for member in &self.members {
            member.runs("ROW_LIMIT = 1").await;
        }
        self.completed().await;
    }

    /// Asks each Superset for a page that needs the password of the connection.
    async fn all_query(&self, id: i64) {
        for member in &self.members {
            let rows = Person::admin(&member.superset.url).await.query(id, Some("sales"), "SELECT * FROM orders").await;
            assert_eq!(rows.unwrap().len(), 2, "{}", member.agent.id);
        }
    }
}

#[tokio::test]
async fn a_new_secret_key_goes_through_by_the_documented_steps_and_what_was_stored_stays_readable() {
    let operator = Operator::new();
    let one_of_each = |mut member: Member| {
        member.agent.set("render.allow_files", json!([operator.path("secrets")]));
        if member.agent.id == "web-1" { member.supervising() } else { member.beside() }
    };
    let (mut crew, mariadb) = tokio::join!(Crew::at_rest("rekeyed", 2, one_of_each), mariadb());
    crew.share_what_they_store();
    let first = operator.own("SECRET_KEY: {$file: /run/secrets/superset_key}\n");
    operator.write("secrets/superset_key", "the first key, which is long enough for a test\n");
    crew.tree.fragment(FRAGMENT, &first).await;
    crew.start().await;
    let user = "'rekeyed'@'127.0.0.1' IDENTIFIED BY 'a-password-of-ones-own'";
    let create = format!("CREATE OR REPLACE USER {user}");
    mariadb_statements(mariadb.port, &[&create, "GRANT SELECT ON sales.* TO 'rekeyed'@'127.0.0.1'"]);
    let uri = format!("mysql+pymysql://rekeyed:a-password-of-ones-own@127.0.0.1:{}/sales", mariadb.port);
    let connection = json!({"database_name": "Sales", "sqlalchemy_uri": uri, "expose_in_sqllab": true});
    let id = Person::admin(&crew.members[0].superset.url).await.create(&connection).await;
    crew.all_query(id).await;
    let (config, with_the_first) = (crew.members[0].agent.path("superset_config.py"), operator.path("with_the_first.py"));
    fs::copy(&config, &with_the_first).unwrap();

    // Step 2, and what comes of it without step 3.
    let (second, before) = (operator.block(STEPS, "yaml"), crew.revisions().await);
    operator.write("secrets/superset_key_2", "the second key, which is as long as the first was\n");
    crew.tree.fragment(FRAGMENT, &second).await;
    for member in &crew.members {
        let error = member.is_held("SECRET_KEY would be another one").await;
        assert!(error.contains("name it in rollout.allow_protected"), "{error}");
    }
    assert_eq!(crew.revisions().await, before);
    crew.tree.fragment(FRAGMENT, &first).await;
    crew.run_it().await;

    // Step 3.
    crew.allows(&["SECRET_KEY"]).await;

    // Without steps 4 and 5 it boots and answers, and cannot read what it stored: it is taken back on the first.
    crew.tree.fragment(FRAGMENT, operator.own("APP_NAME: In haste\nSECRET_KEY: {$file: /run/secrets/superset_key_2}\n")).await;
    for member in &crew.members {
        let error = member.is_held("cannot list its connections").await;
        assert!(error.contains("Invalid decryption key"), "{error}");
    }
    assert_eq!(crew.revisions().await, before);
    crew.all_query(id).await;
    crew.tree.fragment(FRAGMENT, &first).await;
    crew.run_it().await;

    // Step 4.
    let [stand_still, encrypt] = operator.blocks(STEPS, "sh");
    operator.write("edited", &second);
    operator.carry_out(&crew.members[0], &stand_still).await;
    for member in &crew.members {
        member.agent.status_where("paused", |status| status["instance"]["state"] == "paused").await;
    }
    assert_eq!(crew.tree.read(&format!("config/{FRAGMENT}")).await.as_deref(), Some(&*second));
    assert_eq!(crew.revisions().await, before, "nothing changes before the stored secrets do");
    assert_eq!(stored(&crew.members[0].superset, id, &with_the_first).await.as_deref(), Ok(&*uri));

    // Step 5.
    operator.write("reencrypt.py", &operator.block(SCRIPT, "python"));
    operator.carry_out(&crew.members[0], &encrypt).await;
    crew.run_it().await;
    for (now, before) in crew.revisions().await.iter().zip(&before) {
        assert!(now.is_some() && now != before, "{now:?}");
    }
    assert_eq!(stored(&crew.members[0].superset, id, &config).await.as_deref(), Ok(&*uri));
    let unreadable = stored(&crew.members[0].superset, id, &with_the_first).await.unwrap_err();
    assert!(unreadable.contains("Invalid decryption key"), "{unreadable}");

    // Step 6.
    crew.all_query(id).await;
    crew.allows(&[]).await;
    crew.tree.fragment(FRAGMENT, operator.own("SECRET_KEY: {$file: /run/secrets/superset_key_2}\n")).await;
    for member in &crew.members {
        member.agent.renders("one key", |text| !text.contains("PREVIOUS_SECRET_KEY")).await;
    }
    crew.run_it().await;
    fs::remove_file(operator.path("secrets/superset_key")).unwrap();
    crew.all_query(id).await;
}
