//! Two people write at once: who comes second is refused with the name of the node, and nothing of theirs is written.
//!
//! The other one comes in at a chosen look of the command's, as early as the one at the tree or as late as the last before the
//! transaction: the server has answered that look, and the command has not seen the answer yet.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::{block_in_place, spawn_blocking};

use super::{Said, Shell};
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::Server;
use crate::support::tree::Tree;
use crate::support::wire::{Op, Request};

/// What the other one does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Put(&'static str),
    Delete(&'static str),
}

/// Which of the command's looks it is.
type Look = fn(&Request) -> bool;

/// Each node of the config tree with its text.
type Nodes = BTreeMap<String, String>;

/// A tree, a folder that differs from it in four nodes, and a network to come in between.
struct Scene {
    _server: Server,
    proxy: Proxy,
    tree: Arc<Tree>,
    shell: Arc<Shell>,
}

impl Scene {
    async fn new() -> Self {
        let server = Server::start().await;
        let proxy = Proxy::before(server.port).await;
        let tree = Tree::at(&server.connect()).await;
        for (name, text) in [
            ("10-a", "ROW_LIMIT: 1\n"),
            ("20-b", "SQL_MAX_ROW: 1\n"),
            ("30-c", "SQLLAB_TIMEOUT: 1\n"),
            ("50-same", "DISPLAY_MAX_ROW: 1\n"),
        ] {
            tree.fragment(name, text).await;
        }
        let shell = Shell::at(&proxy.connect(), "");
        fs::create_dir_all(shell.path("t/config")).unwrap();
        for (name, text) in [
            ("10-a", "ROW_LIMIT: 2\n"),
            ("20-b", "SQL_MAX_ROW: 2\n"),
            ("40-d", "SAMPLES_ROW_LIMIT: 2\n"),
            ("50-same", "DISPLAY_MAX_ROW: 1\n"),
        ] {
            fs::write(shell.path(&format!("t/config/{name}.yaml")), text).unwrap();
        }
        Self { _server: server, proxy, tree: Arc::new(tree), shell: Arc::new(shell) }
    }

    async fn nodes(&self) -> Nodes {
        let mut nodes = Nodes::new();
        for name in self.tree.names("config").await {
            let text = self.tree.read(&format!("config/{name}")).await.unwrap();
            nodes.insert(name, text);
        }
        nodes
    }

    async fn apply(&self) -> Said {
        let shell = self.shell.clone();
        spawn_blocking(move || shell.run(&["apply", "t"])).await.unwrap()
    }

    /// Applies the folder while the other one does this at that look; and what the tree was right after that deed.
    async fn apply_during(&self, deed: Deed, look: Look) -> (Said, Nodes) {
        let tree = self.tree.clone();
        let happened = self.proxy.once(Fate::Pass, move |request| {
            let chosen = look(request);
            if chosen {
                block_in_place(|| Handle::current().block_on(act(&tree, deed)));
            }
            chosen
        });
        let mut expected = self.nodes().await;
        match deed {
            Deed::Put(name) => drop(expected.insert(name.to_owned(), THEIRS.to_owned())),
            Deed::Delete(name) => drop(expected.remove(name)),
        }
        let said = self.apply().await;
        assert!(*happened.borrow(), "{deed:?}: nobody came in between: {}", said.err);
        (said, expected)
    }
}

const THEIRS: &str = "SMTP_PORT: 9\n";

/// The fragments as they are: what is validated, and what is compared with the folder.
fn is_first_look(request: &Request) -> bool {
    request.op == Op::MultiRead && request.path.starts_with("/superset/config/")
}

/// Which of the nodes above those to write exist: asked right before they are written.
fn is_last_look(request: &Request) -> bool {
    request.op == Op::MultiRead && request.path == "/superset"
}

async fn act(tree: &Tree, deed: Deed) {
    match deed {
        Deed::Put(name) => tree.fragment(name, THEIRS).await,
        Deed::Delete(name) => tree.delete(&format!("config/{name}")).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_applies_over_a_change_that_they_did_not_see_is_refused_and_writes_nothing() {
    // One that is updated, one updated after another, one that is deleted, one that is created, one that goes under our hands.
    let deeds = [Deed::Put("10-a"), Deed::Put("20-b"), Deed::Put("30-c"), Deed::Put("40-d"), Deed::Delete("20-b")];
    let late = deeds.map(|deed| (deed, is_last_look as Look));
    for (deed, look) in late.into_iter().chain([(Deed::Put("20-b"), is_first_look as Look)]) {
        let (Deed::Put(name) | Deed::Delete(name)) = deed;
        let scene = Scene::new().await;
        let (said, expected) = scene.apply_during(deed, look).await;
        assert_eq!(said.code, 1, "{deed:?}: {}{}", said.out, said.err);
        let refusal = format!(
            "error: /superset/config/{name} was changed by somebody else meanwhile; nothing is written\n\n\
             hint: look at what they did, then run the command again\n"
        );
        assert_eq!((said.err, said.out), (refusal, String::new()), "{deed:?}");
        assert_eq!(scene.nodes().await, expected, "{deed:?}");
        let again = scene.apply().await;
        assert_eq!(again.code, 0, "{deed:?}: {}", again.err);
        assert_eq!(scene.nodes().await.keys().collect::<Vec<_>>(), ["10-a", "20-b", "40-d", "50-same"], "{deed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_a_node_that_the_folder_leaves_alone_counts_as_made_afterwards() {
    for deed in [Deed::Put("50-same"), Deed::Put("60-theirs")] {
        let scene = Scene::new().await;
        let (said, mut expected) = scene.apply_during(deed, is_last_look).await;
        assert_eq!(said.code, 0, "{deed:?}: {}", said.err);
        expected.remove("30-c");
        expected.extend(
            [("10-a", "ROW_LIMIT: 2\n"), ("20-b", "SQL_MAX_ROW: 2\n"), ("40-d", "SAMPLES_ROW_LIMIT: 2\n")]
                .map(|(a, b)| (a.to_owned(), b.to_owned())),
        );
        assert_eq!(scene.nodes().await, expected, "{deed:?}");
    }
}
