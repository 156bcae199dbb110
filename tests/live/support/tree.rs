//! The tree in ZooKeeper as its author writes it.

use serde_json::Value as Json;
use zookeeper_client as zk;

use super::agent::{client, open};
use super::eventually;

/// Writes and reads below `/superset`.
pub struct Tree(zk::Client);

impl Tree {
    /// In the ZooKeeper at `connect`; a chroot may follow.
    pub async fn at(connect: &str) -> Self {
        Self(client(connect).await)
    }

    /// As one who has logged in already.
    pub fn of(client: zk::Client) -> Self {
        Self(client)
    }

    /// Writes a node, below the root or by its whole path, and the nodes above it.
    pub async fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let (path, content) = (whole(path), content.as_ref());
        eventually(&format!("{path} is written"), async || match self.0.set_data(&path, content, None).await {
            Ok(_) => Some(()),
            Err(zk::Error::NoNode) => {
                let above = path.rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty());
                if let Some(above) = above {
                    self.0.mkdir(above, &open()).await.ok()?;
                }
                self.0.create(&path, content, &open()).await.ok().map(drop)
            }
            Err(_) => None,
        })
        .await;
    }

    /// Writes a fragment.
    pub async fn fragment(&self, name: &str, text: impl AsRef<[u8]>) {
        self.put(&format!("config/{name}"), text).await;
    }

    /// Writes a datasource.
    pub async fn datasource(&self, name: &str, meant: &Json) {
        self.put(&format!("datasources/{name}"), meant.to_string()).await;
    }

    /// Creates many nodes below one that is there, some hundred in each request.
    pub async fn put_many(&self, above: &str, nodes: impl IntoIterator<Item = (String, String)>) {
        let above = whole(above);
        let mut nodes = nodes.into_iter().peekable();
        while nodes.peek().is_some() {
            let mut writer = self.0.new_multi_writer();
            for (name, content) in nodes.by_ref().take(500) {
                writer.add_create(&format!("{above}/{name}"), content.as_bytes(), &open()).unwrap();
            }
            writer.commit().await.unwrap();
        }
    }

    /// Deletes nodes, all at once.
    pub async fn delete_all(&self, paths: &[&str]) {
        let mut writer = self.0.new_multi_writer();
        for path in paths {
            writer.add_delete(&whole(path), None).unwrap();
        }
        writer.commit().await.unwrap();
    }

    /// Deletes a node.
    pub async fn delete(&self, path: &str) {
        self.0.delete(&whole(path), None).await.unwrap();
    }

    /// What a node holds.
    pub async fn read(&self, path: &str) -> Option<String> {
        let (content, _) = self.0.get_data(&whole(path)).await.ok()?;
        Some(String::from_utf8_lossy(&content).into_owned())
    }

    /// What a node holds, as JSON.
    pub async fn json(&self, path: &str) -> Option<Json> {
        serde_json::from_str(&self.read(path).await?).ok()
    }

    /// The names below a node.
    pub async fn names(&self, path: &str) -> Vec<String> {
        self.0.list_children(&whole(path)).await.unwrap_or_default()
    }

    /// The session that a node ends with.
    pub async fn owner(&self, path: &str) -> Option<i64> {
        self.0.check_stat(&whole(path)).await.ok()?.map(|stat| stat.ephemeral_owner)
    }

    /// The client itself.
    pub fn client(&self) -> &zk::Client {
        &self.0
    }
}

fn whole(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/superset/{path}") }
}
