//! Every metric: its name, its words, and the one function that moves it.
//!
//! In: calls from whichever room sees the event. Out: Prometheus text, through the handle that [`install`] gives. A metric that has
//! no meaning here (ZooKeeper's, with a directory source) shows only once somebody moves it, so that no alarm rings for it.
//! Labels come from fixed sets, so that a metric cannot grow without bound; `setkeeper_revision_info`, whose labels do change,
//! is written anew at each request and leaves no trace of earlier revisions. No label ever holds a name from the tree.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::model::instance::{Role, State, Version};
use crate::model::status::{DatasourceState, DatasourceStatus};

const ZOOKEEPER_CONNECTED: &str = "setkeeper_zookeeper_connected";
const ZOOKEEPER_LAST_SEEN: &str = "setkeeper_zookeeper_last_seen_timestamp_seconds";
const WATCH_REARMS: &str = "setkeeper_watch_rearms_total";
const IS_LEADER: &str = "setkeeper_is_leader";
const INSTANCE_STATE: &str = "setkeeper_instance_state";
const REVISION_INFO: &str = "setkeeper_revision_info";
const LAST_APPLY: &str = "setkeeper_config_last_apply_timestamp_seconds";
const LAST_APPLY_SUCCESS: &str = "setkeeper_config_last_apply_success";
const RELOADS: &str = "setkeeper_reloads_total";
const DATASOURCES: &str = "setkeeper_datasources";
const PUSH: &str = "setkeeper_push_seconds";
const RECONCILE: &str = "setkeeper_reconcile_seconds";

/// From a pass with nothing to do up to one that waits for a slow Superset.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// How a reload of Superset ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// It was told, and nothing says that it went wrong.
    Succeeded,
    /// It could not be told, or did not come back.
    Failed,
}

impl ReloadOutcome {
    fn label(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// Starts counting for the whole process; the handle renders what was counted.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    describe();
    Ok(handle)
}

/// A recorder of the same make that is not the process's own, for tests.
pub fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let recorder = builder()?.build_recorder();
    ::metrics::with_local_recorder(&recorder, describe);
    Ok(recorder)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets(&SECONDS)
}

fn describe() {
    describe_gauge!(ZOOKEEPER_CONNECTED, "Whether the session with ZooKeeper is connected");
    describe_gauge!(ZOOKEEPER_LAST_SEEN, "When ZooKeeper last answered, in seconds since 1970");
    describe_counter!(WATCH_REARMS, "How often the watches were set anew after a reconnect");
    describe_gauge!(IS_LEADER, "Whether this instance leads");
    describe_gauge!(INSTANCE_STATE, "Which state this instance is in: 1 for that one");
    describe_gauge!(LAST_APPLY, "When a revision was last applied or failed to be, in seconds since 1970");
    describe_gauge!(LAST_APPLY_SUCCESS, "Whether that succeeded");
    describe_counter!(RELOADS, "How often Superset was reloaded, by outcome");
    describe_gauge!(DATASOURCES, "How many datasources are in each state");
    describe_histogram!(PUSH, "How long one write of a connection to Superset took");
    describe_histogram!(RECONCILE, "How long one reconcile pass took");
    leader(Role::Follower);
    state(State::Starting);
    counter!(WATCH_REARMS).increment(0);
    for outcome in [ReloadOutcome::Succeeded, ReloadOutcome::Failed] {
        counter!(RELOADS, "outcome" => outcome.label()).increment(0);
    }
}

/// Says whether ZooKeeper is connected.
pub fn zookeeper_connected(connected: bool) {
    gauge!(ZOOKEEPER_CONNECTED).set(truth(connected));
}

/// ZooKeeper answered last at this time.
pub fn zookeeper_seen(at: SystemTime) {
    gauge!(ZOOKEEPER_LAST_SEEN).set(seconds(at));
}

/// The watches have been set anew this often.
pub fn watches_rearmed(times: u64) {
    counter!(WATCH_REARMS).absolute(times);
}

/// Says whether this instance leads.
pub fn leader(role: Role) {
    gauge!(IS_LEADER).set(truth(role == Role::Leader));
}

/// Says in which state this instance is; the others show as 0.
pub fn state(now: State) {
    for (state, label) in INSTANCE_STATES {
        gauge!(INSTANCE_STATE, "state" => label).set(truth(state == now));
    }
}

/// A revision was applied, or failed to be, just now.
pub fn applied(success: bool) {
    gauge!(LAST_APPLY).set(now());
    gauge!(LAST_APPLY_SUCCESS).set(truth(success));
}

/// Superset was reloaded.
pub fn reload(outcome: ReloadOutcome) {
    counter!(RELOADS, "outcome" => outcome.label()).increment(1);
}

/// Counts the datasources by state; states that none is in show as 0.
pub fn datasources<'a>(all: impl IntoIterator<Item = &'a DatasourceStatus>) {
    let mut counts = [0_u32; STATES.len()];
    for one in all {
        for ((state, _), count) in STATES.iter().zip(&mut counts) {
            *count += u32::from(one.state == *state);
        }
    }
    for ((_, label), count) in STATES.iter().zip(counts) {
        gauge!(DATASOURCES, "state" => *label).set(count);
    }
}

/// One write of a connection took this long.
pub fn pushed(took: Duration) {
    histogram!(PUSH).record(took);
}

/// One pass took this long.
pub fn reconciled(took: Duration) {
    histogram!(RECONCILE).record(took);
}

/// What Prometheus fetches; `applied` is what runs here.
#[must_use]
pub fn render(handle: &PrometheusHandle, applied: &Version) -> String {
    let mut text = handle.render();
    if let Some(revision) = &applied.revision {
        let release = applied.release.as_ref().map(|release| escape(release.as_str())).unwrap_or_default();
        let revision = escape(revision.as_str());
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP {REVISION_INFO} Which release and revision are applied\n# TYPE {REVISION_INFO} gauge\n\
             {REVISION_INFO}{{release=\"{release}\",revision=\"{revision}\"}} 1\n"
        );
    }
    text
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

const STATES: [(DatasourceState, &str); 7] = [
    (DatasourceState::InSync, "in_sync"),
    (DatasourceState::Pending, "pending"),
    (DatasourceState::Unreachable, "unreachable"),
    (DatasourceState::Invalid, "invalid"),
    (DatasourceState::Conflict, "conflict"),
    (DatasourceState::Failed, "failed"),
    (DatasourceState::Orphaned, "orphaned"),
];

const INSTANCE_STATES: [(State, &str); 8] = [
    (State::Starting, "starting"),
    (State::InSync, "in_sync"),
    (State::Checking, "checking"),
    (State::Waiting, "waiting"),
    (State::Reloading, "reloading"),
    (State::Held, "held"),
    (State::Failed, "failed"),
    (State::Paused, "paused"),
];

fn truth(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

fn now() -> f64 {
    seconds(SystemTime::now())
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs_f64()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::datasource::DatasourceName;
    use crate::model::digest::{Release, Revision};

    fn rendered(moves: impl FnOnce()) -> String {
        let recorder = recorder().unwrap();
        ::metrics::with_local_recorder(&recorder, moves);
        render(&recorder.handle(), &Version::default())
    }

    fn status(state: DatasourceState) -> DatasourceStatus {
        let name = DatasourceName::new("canary");
        DatasourceStatus { name, state, uuid: Uuid::nil(), database_id: None, error: None, at: None, by: None }
    }

    #[test]
    fn every_metric_of_the_contract_is_there_with_words() {
        let text = rendered(|| {
            zookeeper_connected(true);
            zookeeper_seen(SystemTime::now());
            watches_rearmed(1);
            leader(Role::Leader);
            state(State::Held);
            applied(true);
            reload(ReloadOutcome::Succeeded);
            datasources(&[status(DatasourceState::Failed), status(DatasourceState::Failed)]);
            pushed(Duration::from_millis(20));
            reconciled(Duration::from_millis(2));
        });
        for line in [
            "setkeeper_zookeeper_connected 1",
            "setkeeper_is_leader 1",
            "setkeeper_instance_state{state=\"held\"} 1",
            "setkeeper_instance_state{state=\"starting\"} 0",
            "setkeeper_watch_rearms_total 1",
            "setkeeper_config_last_apply_success 1",
            "setkeeper_reloads_total{outcome=\"succeeded\"} 1",
            "setkeeper_reloads_total{outcome=\"failed\"} 0",
            "setkeeper_datasources{state=\"failed\"} 2",
            "setkeeper_datasources{state=\"in_sync\"} 0",
            "setkeeper_push_seconds_bucket{le=\"0.025\"} 1",
            "setkeeper_push_seconds_count 1",
            "setkeeper_reconcile_seconds_bucket{le=\"0.001\"} 0",
            "setkeeper_reconcile_seconds_bucket{le=\"0.0025\"} 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
        for name in [ZOOKEEPER_LAST_SEEN, LAST_APPLY] {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            assert!(line.split_once(' ').unwrap().1.parse::<f64>().unwrap() > 1.7e9, "{line}");
        }
        let words = text.lines().filter(|line| line.starts_with("# HELP setkeeper_")).count();
        let kinds = text.lines().filter(|line| line.starts_with("# TYPE setkeeper_")).count();
        assert_eq!((words, kinds), (11, 11), "{text}");
        assert!(!text.contains("canary"));
    }

    #[test]
    fn without_zookeeper_nothing_is_said_about_it() {
        let text = rendered(|| {});
        assert!(!text.contains("zookeeper"), "{text}");
        assert!(text.contains("setkeeper_is_leader 0\n"), "{text}");
    }

    #[test]
    fn only_the_applied_revision_shows() {
        let handle = recorder().unwrap().handle();
        let version = |revision: &str| Version { release: Some(Release::new("r\"1")), revision: Some(Revision::new(revision)) };
        assert!(render(&handle, &version("a")).contains("setkeeper_revision_info{release=\"r\\\"1\",revision=\"a\"} 1\n"));
        let text = render(&handle, &version("b"));
        assert!(text.contains("revision=\"b\"") && !text.contains("revision=\"a\""), "{text}");
        assert!(!render(&handle, &Version::default()).contains("revision_info"));
    }
}
