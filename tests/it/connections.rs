//! The connections loop on a Superset that lives in the test: what it reports when, and what becomes of it when a call dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use setkeeper::desired::lens::Lens;
use setkeeper::desired::resolver::Resolver;
use setkeeper::model::connection::{Connection, Mark, Request, Stored};
use setkeeper::model::datasource::{Datasource, DatasourceName};
use setkeeper::model::digest::DigestKey;
use setkeeper::model::instance::{InstanceId, Standing, SupersetSeen};
use setkeeper::model::snapshot::{Branch, Node, Origin, Snapshot, Tree};
use setkeeper::model::status::{DatasourceState, DatasourceStatus};
use setkeeper::plan::connections::{Pruning, Server, Step, Wanted};
use setkeeper::processes::clock::Moment;
use setkeeper::reconcile::connections::{ConnectionsLoop, Inputs, Statuses};
use setkeeper::reconcile::ledger::job::Rules;
use setkeeper::reconcile::resolve::{ResolveLoop, Resolved};
use setkeeper::reconcile::wants::Wants;
use setkeeper::world::{Connections, Fault, FaultKind};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);
const CLUSTER: &str = "looped";

/// A Superset with rows by their number, whose datasources all take one secret.
struct Superset {
    rows: watch::Sender<BTreeMap<i64, Connection>>,
    secret: watch::Sender<&'static str>,
    /// The secret with which nobody gets in.
    wrong: &'static str,
    /// Whose next calls die, a name for each time.
    deadly: watch::Sender<Vec<&'static str>>,
    calls: watch::Sender<Vec<String>>,
}

impl Default for Superset {
    fn default() -> Self {
        let (rows, deadly, calls) = (watch::Sender::default(), watch::Sender::default(), watch::Sender::default());
        Self { rows, secret: watch::Sender::new("right"), wrong: "wrong", deadly, calls }
    }
}

impl Superset {
    /// Writes down the call, and dies of it where that is meant.
    fn begin(&self, call: &str) {
        self.calls.send_modify(|calls| calls.push(call.to_owned()));
        let mut dies = false;
        self.deadly.send_modify(|deadly| {
            let at = deadly.iter().position(|name| call.contains(name));
            dies = at.map(|at| deadly.remove(at)).is_some();
        });
        assert!(!dies, "{call} dies as the test wants it");
    }

    fn calls(&self, call: &str) -> usize {
        self.calls.borrow().iter().filter(|made| *made == call).count()
    }
}

impl Connections for Superset {
    async fn wanted(&self, _key: &DigestKey, datasource: &Datasource) -> Result<Wanted, Fault> {
        let secret = *self.secret.borrow();
        let database_name = datasource.database_name.to_string();
        let open = [("database_name", json!(database_name)), ("uuid", json!(datasource.uuid)), ("secret", json!(secret))];
        let open = open.map(|(name, value)| (name.to_owned(), value)).into();
        let request = Request { open, digest: secret.to_owned(), ..Request::default() };
        Ok(Wanted { uuid: datasource.uuid, database_name, adopt: false, server: None, request })
    }

    async fn list(&self) -> Result<Vec<Connection>, Fault> {
        self.begin("list");
        Ok(self.rows.borrow().values().cloned().collect())
    }

    async fn look(&self, _id: i64) -> Result<Stored, Fault> {
        Ok(Stored { fields: BTreeMap::new() })
    }

    async fn probe(&self, _server: &Server) -> Result<(), Fault> {
        Ok(())
    }

    async fn apply(&self, step: &Step) -> Result<i64, Fault> {
        let (id, request) = match step {
            Step::Create { request } => (self.rows.borrow().len().try_into().unwrap(), request),
            Step::Update { id, request, .. } | Step::Adopt { id, request } => (*id, request),
            Step::Delete { .. } => panic!("nothing is to be deleted"),
        };
        let before = self.rows.borrow().get(&id).cloned();
        let text = |field: &str| request.open.get(field).and_then(|value| value.as_str().map(str::to_owned));
        let name = text("database_name").or_else(|| before.as_ref().map(|row| row.database_name.clone())).unwrap();
        self.begin(&format!("{} {name}", step.verb()));
        if request.digest == self.wrong {
            return Err(Fault { kind: FaultKind::Unreachable, message: "connection failed".to_owned() });
        }
        let uuid = before.map_or_else(|| text("uuid").unwrap().parse().unwrap(), |row| row.uuid);
        let mark = Some(Mark { name: name.clone(), digest: request.digest.clone() });
        let row = Connection { id, uuid, database_name: name, changed_on: request.digest.clone(), mark };
        self.rows.send_modify(|rows| drop(rows.insert(id, row)));
        Ok(id)
    }
}

/// The loop with everything around it.
struct Stand {
    superset: Arc<Superset>,
    generation: watch::Sender<u64>,
    statuses: watch::Receiver<Option<Statuses>>,
    cancel: CancellationToken,
    standing: watch::Sender<Standing>,
    _channels: (watch::Sender<Option<Tree>>, watch::Sender<SupersetSeen>),
}

impl Stand {
    /// Leading, with these datasources in the tree.
    fn with(names: &[&str], superset: Superset) -> Self {
        let node = |name: &&str| {
            let origin = Origin::new(format!("/superset/datasources/{name}"));
            (Arc::from(*name), Node::new(origin, "sqlalchemy_uri: 'duckdb:///:memory:'", 1))
        };
        let datasources = Branch { root: None, children: names.iter().map(node).collect() };
        let key = Arc::new(DigestKey::from_bytes(&[1; 32]).unwrap());
        let tree = Tree { key, snapshot: Snapshot { datasources, ..Snapshot::default() }, pause: None };
        let (trees, seen) = (watch::Sender::default(), watch::Sender::default());
        let (resolved, statuses) = (watch::Sender::<Option<Arc<Resolved>>>::default(), watch::Sender::default());
        let resolve = ResolveLoop {
            tree: trees.subscribe(),
            superset: seen.subscribe(),
            resolver: Resolver::new(Lens { cluster: CLUSTER.to_owned(), ..Lens::default() }),
            max_loss: 0.5,
            accepted: watch::Sender::default(),
            resolved: resolved.clone(),
        };
        let until = Moment::now() + Duration::from_secs(3600);
        let (standing, generation) = (watch::Sender::new(Standing::Leader { until, term: 1 }), watch::Sender::new(0));
        let (superset, cancel) = (Arc::new(superset), CancellationToken::new());
        let connections = ConnectionsLoop {
            world: Arc::clone(&superset),
            rules: Rules {
                cluster: CLUSTER.to_owned(),
                pruning: Pruning { prune: false, max_delete: 0.5 },
                resync: Duration::from_secs(3600),
                // So long that no second look comes to anybody's help.
                call_deadline: Duration::from_secs(3600),
            },
            concurrency: 4,
            instance: InstanceId::parse("a").unwrap(),
            inputs: Inputs { resolved: resolved.subscribe(), standing: standing.subscribe(), secrets: generation.subscribe() },
            statuses: statuses.clone(),
            trouble: watch::Sender::default(),
            wants: Wants::default(),
        };
        tokio::spawn(resolve.run(cancel.clone()));
        tokio::spawn(connections.run(cancel.clone()));
        trees.send_replace(Some(tree));
        Self { superset, generation, statuses: statuses.subscribe(), cancel, standing, _channels: (trees, seen) }
    }

    /// The secret's file says something else.
    fn rotate(&self, secret: &'static str) {
        self.superset.secret.send_replace(secret);
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Waits until these and no others are in this state.
    async fn all(&mut self, names: &[&str], state: DatasourceState) {
        let names: BTreeSet<_> = names.iter().map(|name| DatasourceName::new(*name)).collect();
        let is_so = |statuses: &Statuses| {
            let is_in_it = |status: &DatasourceStatus| status.state == state;
            statuses.keys().cloned().collect::<BTreeSet<_>>() == names && statuses.values().all(is_in_it)
        };
        let reported = self.statuses.wait_for(|statuses| statuses.as_ref().is_some_and(is_so));
        let is_reported = tokio::time::timeout(PATIENCE, reported).await.is_ok_and(|reported| reported.is_ok());
        assert!(is_reported, "never {state:?}: {:?}", self.statuses.borrow());
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[tokio::test]
async fn a_secret_that_is_put_back_is_reported_although_nothing_is_left_to_push() {
    let mut stand = Stand::with(&["a"], Superset::default());
    stand.all(&["a"], DatasourceState::InSync).await;
    let lists = stand.superset.calls("list");
    stand.rotate("wrong");
    stand.all(&["a"], DatasourceState::Unreachable).await;
    stand.rotate("right");
    stand.all(&["a"], DatasourceState::InSync).await;
    assert_eq!(stand.superset.calls("update a"), 1, "superset has had the right one all the time");
    assert!(stand.superset.calls("list") <= lists + 1, "a second look would have hidden it");
}

#[tokio::test]
async fn law_11_a_call_that_dies_is_said_and_made_again_and_the_others_go_on() {
    let superset = Superset::default();
    superset.deadly.send_replace(vec!["list", "create b", "create b"]);
    let mut stand = Stand::with(&["a", "b", "c"], superset);
    let died = |status: &DatasourceStatus| status.error.as_deref().is_some_and(|error| error.contains("died"));
    let is_said = |statuses: &Statuses| {
        let of = |name: &str| statuses.get(&DatasourceName::new(name));
        let others = ["a", "c"].iter().all(|name| of(name).is_some_and(|one| one.state == DatasourceState::InSync));
        others && of("b").is_some_and(|one| one.state == DatasourceState::Failed && died(one))
    };
    let said = stand.statuses.wait_for(|statuses| statuses.as_ref().is_some_and(is_said));
    assert!(tokio::time::timeout(PATIENCE, said).await.is_ok(), "the others do not wait: {:?}", stand.statuses.borrow());
    stand.all(&["a", "b", "c"], DatasourceState::InSync).await;
    let superset = &stand.superset;
    assert!(superset.deadly.borrow().is_empty(), "each of them has died");
    assert_eq!(superset.calls("create b"), 3);
    for other in ["create a", "create c"] {
        assert_eq!(superset.calls(other), 1, "{other}: what was done is not done again");
    }
}

#[tokio::test]
async fn law_7_a_leader_whose_certainty_has_run_out_stops_and_observes_first_once_it_is_certain_again() {
    let mut stand = Stand::with(&["a"], Superset::default());
    stand.all(&["a"], DatasourceState::InSync).await;
    let lists = stand.superset.calls("list");
    let leads_until = |until: Moment| Standing::Leader { until, term: 1 };
    stand.standing.send_replace(leads_until(Moment::now()));
    let is_over = tokio::time::timeout(PATIENCE, stand.statuses.wait_for(Option::is_none)).await.map(drop);
    assert!(is_over.is_ok(), "it goes on: {:?}", stand.statuses.borrow());
    stand.standing.send_replace(leads_until(Moment::now() + Duration::from_secs(3600)));
    stand.all(&["a"], DatasourceState::InSync).await;
    assert!(stand.superset.calls("list") > lists);
}
