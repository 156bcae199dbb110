//! The versions of everything that takes part, as each says itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use tokio::runtime::Runtime;

use super::services::scripts;
use super::support::server::Server;

/// What takes part, and its version.
pub fn here(runtime: &Runtime) -> Vec<(&'static str, String)> {
    let superset = "import importlib.metadata as m; print(m.version('apache-superset'))";
    vec![
        ("Setkeeper", env!("CARGO_PKG_VERSION").to_owned()),
        ("zookeeper-client", locked("zookeeper-client")),
        ("Rust", said(Command::new("rustc").arg("--version")).split(' ').nth(1).unwrap().to_owned()),
        ("ZooKeeper", runtime.block_on(zookeeper())),
        ("Superset", said(Command::new(scripts().join("superset")).args(["python", "-c", superset]))),
    ]
}

/// The version of a crate that this program is built with.
fn locked(name: &str) -> String {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let after = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).unwrap().1;
    after.split('"').next().unwrap().to_owned()
}

async fn zookeeper() -> String {
    let answer = Server::start().await.four_letters("srvr").await.unwrap();
    let version = answer.lines().next().and_then(|line| line.strip_prefix("Zookeeper version: ")).unwrap();
    version.split(['-', ',']).next().unwrap().to_owned()
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
