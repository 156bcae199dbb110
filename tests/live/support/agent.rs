//! The agent's ZooKeeper side as a test holds it: every channel in and out, and a way to wait for what it says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use setkeeper::model::datasource::DatasourceName;
use setkeeper::model::instance::{Instance, InstanceId, Role, Standing, State, SupersetSeen, Version};
use setkeeper::model::secret::SecretText;
use setkeeper::model::snapshot::{Content, Snapshot, Tree};
use setkeeper::model::status::{DatasourceState, DatasourceStatus};
use setkeeper::processes::clock::Moment;
use setkeeper::settings::{Acl, Layout, Zookeeper};
use setkeeper::zookeeper::access::Access;
use setkeeper::zookeeper::channels::{Inputs, Outputs};
use setkeeper::zookeeper::cluster::Cluster;
use setkeeper::zookeeper::link::Link;
use setkeeper::zookeeper::run::run;
use setkeeper::zookeeper::statuses::Statuses;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zookeeper_client as zk;

use super::PATIENCE;

/// The session timeout of tests, unless they say otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// How often everything is read: rarely enough that what arrives earlier was announced.
const RESYNC: Duration = Duration::from_secs(10);

/// How to reach the tree at `/superset`, openly.
pub fn settings(connect: &str) -> Zookeeper {
    Zookeeper {
        connect: connect.to_owned(),
        root: "/superset".to_owned(),
        session_timeout: TIMEOUT,
        auth: None,
        tls: None,
        acl: Acl::Open,
    }
}

/// The usual layout.
pub fn layout() -> Layout {
    Layout { config: None, datasources: None, max_loss: 0.5 }
}

/// How to get in, without a password.
pub fn access(settings: &Zookeeper) -> Access {
    Access::new(settings, &layout(), watch::channel(None).1).unwrap()
}

/// How to get in with a password that may change.
pub fn access_with(settings: &Zookeeper, layout: &Layout, password: watch::Receiver<Option<SecretText>>) -> Access {
    Access::new(settings, layout, password).unwrap()
}

/// A client without any of our own code in it.
pub async fn client(connect: &str) -> zk::Client {
    zk::Client::connector().with_session_timeout(Duration::from_secs(20)).connect(connect).await.unwrap()
}

/// What anybody may do anything with.
pub fn open() -> zk::CreateOptions<'static> {
    zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all())
}

/// A running agent.
pub struct Agent {
    pub id: InstanceId,
    pub record: watch::Sender<Option<Instance>>,
    pub entitled: watch::Sender<bool>,
    pub statuses: watch::Sender<Option<Statuses>>,
    pub tree: watch::Receiver<Option<Tree>>,
    pub link: watch::Receiver<Link>,
    pub standing: watch::Receiver<Standing>,
    pub cluster: watch::Receiver<Option<Cluster>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Agent {
    /// Starts one with a record, entitled to stand.
    pub fn start(connect: &str, id: &str) -> Self {
        Self::with(access(&settings(connect)), id)
    }

    /// Starts one that gets in like this.
    pub fn with(access: Access, id: &str) -> Self {
        let id = InstanceId::parse(id).unwrap();
        let record = watch::Sender::new(Some(record(&id)));
        let entitled = watch::Sender::new(true);
        let statuses = watch::Sender::new(None);
        let inputs =
            Inputs { record: record.subscribe(), entitled: entitled.subscribe(), statuses: statuses.subscribe(), resync: RESYNC };
        let (tree_tx, tree) = watch::channel(None);
        let (link_tx, link) = watch::channel(Link::default());
        let (standing_tx, standing) = watch::channel(Standing::Follower);
        let (cluster_tx, cluster) = watch::channel(None);
        let outputs = Outputs { tree: tree_tx, link: link_tx, standing: standing_tx, cluster: cluster_tx };
        let stop = CancellationToken::new();
        let running = run(access, id.clone(), inputs, outputs, stop.clone());
        let task = tokio::spawn(async move { running.await.unwrap() });
        Self { id, record, entitled, statuses, tree, link, standing, cluster, stop, task }
    }

    /// Stops it in good order.
    pub async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }

    /// Waits for a tree that is as wanted.
    pub async fn tree_where(&mut self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Tree {
        let arrived = self.tree.wait_for(|tree| tree.as_ref().is_some_and(|tree| wanted(&tree.snapshot)));
        let arrived = tokio::time::timeout(PATIENCE, arrived).await;
        let tree = arrived.ok().and_then(|tree| tree.unwrap().clone());
        tree.unwrap_or_else(|| panic!("the tree never had {what}; link: {:?}", self.link.borrow()))
    }

    /// Waits until the fragment of this name has this text, and says how long that took.
    pub async fn has(&mut self, name: &str, wanted: &str) -> Duration {
        let began = Instant::now();
        self.tree_where(&format!("{name} = {wanted}"), |tree| text(tree, name).as_deref() == Some(wanted)).await;
        began.elapsed()
    }

    /// Waits for a link that is as wanted.
    pub async fn link_where(&mut self, what: &str, wanted: impl Fn(&Link) -> bool) -> Link {
        let link = match tokio::time::timeout(PATIENCE, self.link.wait_for(&wanted)).await {
            Ok(link) => Some(link.unwrap().clone()),
            Err(_) => None,
        };
        link.unwrap_or_else(|| panic!("the link never was {what}: {:?}", self.link.borrow()))
    }

    /// Waits until it leads, and says in which term.
    pub async fn leads(&mut self) -> u64 {
        let leads = self.standing.wait_for(|standing| standing.leads(Moment::now()));
        let standing = tokio::time::timeout(PATIENCE, leads).await.map(|standing| *standing.unwrap());
        match standing {
            Ok(Standing::Leader { term, .. }) => term,
            _ => panic!("{} never led; link: {:?}", self.id, self.link.borrow()),
        }
    }

    /// Waits until it follows.
    pub async fn follows(&mut self) {
        let follows = self.standing.wait_for(|standing| *standing == Standing::Follower);
        tokio::time::timeout(PATIENCE, follows).await.expect("it never gave up the role").unwrap();
    }

    /// Whether it leads right now.
    pub fn leads_now(&self) -> bool {
        self.standing.borrow().leads(Moment::now())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The text of a fragment.
pub fn text(tree: &Snapshot, name: &str) -> Option<String> {
    content(tree.config.children.get(name).map(|node| &node.content)?)
}

/// The text of a node.
pub fn content(content: &Content) -> Option<String> {
    match content {
        Content::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        Content::Unreadable(_) => None,
    }
}

/// The record of a fresh instance.
pub fn record(id: &InstanceId) -> Instance {
    Instance {
        id: id.clone(),
        host: "testhost".to_owned(),
        pid: std::process::id(),
        version: "0.0.0".to_owned(),
        labels: BTreeMap::new(),
        started_at: "2026-01-01T00:00:00Z".to_owned(),
        role: Role::Follower,
        state: State::Starting,
        since: "2026-01-01T00:00:00Z".to_owned(),
        desired: Version::default(),
        applied: Version::default(),
        superset: SupersetSeen::default(),
        error: None,
    }
}

/// Statuses of these datasources, all in this state.
pub fn statuses(names: &[&str], state: DatasourceState) -> Statuses {
    let status = |name: &&str| {
        let name = DatasourceName::new(*name);
        let uuid = name.uuid("test");
        let status = DatasourceStatus { name: name.clone(), state, uuid, database_id: None, error: None, at: None, by: None };
        (name, status)
    };
    Arc::new(names.iter().map(status).collect())
}
