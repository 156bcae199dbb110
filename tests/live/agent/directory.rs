//! A folder instead of ZooKeeper, with Kubernetes' swaps of links: the same job, and this instance always leads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::{count, counted_reloads, duck, reloaded};
use crate::support::http_proxy::Proxy;
use crate::support::person::Person;
use crate::support::program::Agent;
use crate::support::services::shared;

/// A mounted volume: a hidden folder for each version, a link to the newest, and a link for each file through it.
struct Volume<'a>(&'a Path);

impl Volume<'_> {
    fn swap(&self, version: &str, files: &[(&str, String)]) {
        let folder = self.0.join(format!("..{version}"));
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        symlink(format!("..{version}"), self.0.join("..data_tmp")).unwrap();
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
        for (name, _) in files {
            if fs::symlink_metadata(self.0.join(name)).is_err() {
                symlink(Path::new("..data").join(name), self.0.join(name)).unwrap();
            }
        }
        for entry in fs::read_dir(self.0).unwrap().map(Result::unwrap) {
            if fs::metadata(entry.path()).is_err() {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

fn ducks(names: &[&'static str]) -> Vec<(&'static str, String)> {
    names.iter().map(|name| (*name, duck().to_string())).collect()
}

#[tokio::test]
async fn a_folder_does_what_zookeeper_does_and_swapped_links_are_seen() {
    let superset = shared().await;
    let (proxy, tree) = (Proxy::before(&superset.url).await, TempDir::new().unwrap());
    let folder = |name: &str| {
        let folder = tree.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    };
    let (config, datasources) = (folder("config"), folder("datasources"));
    let (config, datasources) = (Volume(&config), Volume(&datasources));
    fs::write(tree.path().join("config.yaml"), "ROW_LIMIT: 5\n").unwrap();
    config.swap("1", &[("50-site.yaml", "APP_NAME: one\n".to_owned())]);
    datasources.swap("1", &ducks(&["folder-1.yaml", "folder-2.yml", "folder-3.json"]));
    let (agent, told) = counted_reloads(Agent::of_directory("folder", "a", tree.path(), &proxy.url));
    let mut agent = agent.started().await;
    let rendered = agent.has_line("APP_NAME = \"one\"").await;
    assert!(rendered.lines().any(|line| line == "ROW_LIMIT = 5"));
    agent.datasources(&["folder-1", "folder-2", "folder-3"], "in_sync").await;
    let status = agent.in_sync().await;
    assert_eq!(
        (&status["leader"], &status["instance"]["role"], &status["problems"]),
        (&json!("a"), &json!("leader"), &json!([]))
    );

    config.swap("2", &[("50-site.yaml", "APP_NAME: two\n".to_owned()), ("60-more.yaml", "SQLLAB_TIMEOUT: 7\n".to_owned())]);
    let rendered = agent.has_line("APP_NAME = \"two\"").await;
    assert!(rendered.lines().any(|line| line == "SQLLAB_TIMEOUT = 7"), "a swap is taken whole");
    agent.in_sync().await;
    reloaded(&told, 2).await;

    // What is wrong names its file; the last good stays.
    config.swap("3", &[("50-site.yaml", "APP_NAME: \"two\n".to_owned())]);
    let status = agent.status_where("held", |status| status["instance"]["state"] == "held").await;
    let problem = &status["problems"][0];
    assert!(problem["znode"].as_str().unwrap().ends_with("50-site.yaml"), "{problem}");
    assert_eq!(agent.rendered().unwrap(), rendered);
    config.swap("4", &[("50-site.yaml", "APP_NAME: four\n".to_owned())]);
    agent.has_line("APP_NAME = \"four\"").await;

    // Commands ask the agent.
    let listed = agent.run(&["datasource", "list", "-o", "json"]).await;
    let listed: Json = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 3, "{listed}");

    reloaded(&told, 3).await;
    let (traces, writes) = (agent.rest().await, proxy.writes().len());
    agent.stop().await;
    agent.start().await;
    agent.in_sync().await;
    agent.datasources(&["folder-1", "folder-2", "folder-3"], "in_sync").await;
    assert_eq!((agent.traces(), proxy.writes().len(), count(&told)), (traces, writes, 3));

    // Law 2: a volume that is suddenly empty.
    datasources.swap("2", &[]);
    let status = agent.status_where("held", |status| status["instance"]["state"] == "held").await;
    assert!(status["instance"]["error"].as_str().unwrap().contains("lost 3 of its 3 datasources"), "{status}");
    datasources.swap("3", &ducks(&["folder-1.yaml", "folder-2.yml", "folder-3.json", "folder-4.yaml"]));
    agent.datasources(&["folder-1", "folder-2", "folder-3", "folder-4"], "in_sync").await;
    let person = Person::admin(&superset.url).await;
    assert_eq!(person.named("folder-4").await.len(), 1);
}
