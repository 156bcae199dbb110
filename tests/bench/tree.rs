//! The trees: one znode, and two ways to have ten thousand.
//!
//! Every tree has the fragment [`KEY`], whose one setting the bench changes.

use tokio::runtime::Runtime;
use zookeeper_client as zk;

use super::support::agent::open;

/// The fragment that is changed, below a tree's root.
pub const KEY: &str = "config/50-bench";

/// How many znodes the large trees have.
pub const MANY: usize = 10_000;

/// How many creations go into one transaction.
const BATCH: usize = 1_000;

/// What a tree consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Only the fragment that is changed.
    One,
    /// 100 fragments and 9,900 datasources.
    Datasources,
    /// 10,000 fragments: each sets a feature flag, so that all merge into one setting.
    Fragments,
}

/// The text of the fragment that is changed.
pub fn setting(value: u64) -> String {
    format!("ROW_LIMIT: {value}")
}

/// What a rendered file says of that fragment.
pub fn rendered(value: u64) -> String {
    format!("ROW_LIMIT = {value}\n")
}

/// Makes a tree at `root`, with this value in the fragment that is changed.
pub fn plant(runtime: &Runtime, client: &zk::Client, root: &str, shape: Shape, value: u64) {
    let many = |from: usize, to: usize, node: &dyn Fn(usize) -> (String, String)| (from..to).map(node).collect::<Vec<_>>();
    let flag = |n: usize| (format!("{root}/config/flag-{n:05}"), format!("FEATURE_FLAGS: {{FLAG_{n:05}: true}}"));
    let datasource = |n: usize| {
        let text = format!("sqlalchemy_uri: postgresql://superset@db-{n:05}:5432/sales");
        (format!("{root}/datasources/sales-{n:05}"), text)
    };
    let mut nodes = vec![(format!("{root}/{KEY}"), setting(value))];
    match shape {
        Shape::One => {}
        Shape::Datasources => {
            nodes.extend(many(1, 100, &flag));
            nodes.extend(many(100, MANY, &datasource));
        }
        Shape::Fragments => nodes.extend(many(1, MANY, &flag)),
    }
    runtime.block_on(async {
        for folder in ["", "/config", "/datasources"] {
            create(client, &[(format!("{root}{folder}"), String::new())]).await;
        }
        for batch in nodes.chunks(BATCH) {
            create(client, batch).await;
        }
    });
}

/// Creates nodes in one transaction.
pub async fn create(client: &zk::Client, nodes: &[(String, String)]) {
    let mut multi = client.new_multi_writer();
    for (path, text) in nodes {
        multi.add_create(path, text.as_bytes(), &open()).unwrap();
    }
    multi.commit().await.unwrap();
}
