//! The rollout record: which release is completed, which tree a person confirmed, which releases proved bad.
//!
//! Pure: each rule changes the record and says whether it did; writing it by version is the source's part. What a later
//! version of the program put into the record is kept as it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::digest::{Release, Revision};
use super::instance::{Instance, InstanceId, State, USUAL_ROLE, role};

/// How many releases that proved bad are remembered.
pub const REMEMBERED: usize = 20;

/// The cluster's rollout record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rollout {
    /// The release that every live instance has completed.
    pub completed: Option<Release>,
    /// The digest of the tree that a person confirmed although the guard held it.
    pub confirmed: Option<String>,
    /// Releases that proved bad, the newest last.
    pub quarantine: Vec<Quarantined>,
    /// What this program does not know.
    #[serde(flatten)]
    pub others: Map<String, Json>,
}

/// A release that proved bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The release.
    pub release: Release,
    /// What the instance made of it that found out.
    #[serde(default)]
    pub revision: Option<Revision>,
    /// Which instance that was.
    #[serde(default)]
    pub instance: Option<InstanceId>,
    /// Why, without secrets.
    #[serde(default)]
    pub reason: Option<String>,
    /// What this program does not know.
    #[serde(flatten)]
    pub others: Map<String, Json>,
}

impl Quarantined {
    /// What one instance found out about a release.
    #[must_use]
    pub fn new(release: Release, revision: Revision, instance: InstanceId, reason: impl Into<String>) -> Self {
        let reason = Some(reason.into());
        Self { release, revision: Some(revision), instance: Some(instance), reason, others: Map::new() }
    }

    fn names(&self, other: &Self) -> bool {
        self.release == other.release && self.revision == other.revision
    }
}

impl Rollout {
    /// Why an instance must not try a release, or the revision it makes of it (law 6). Of a release that was completed only that
    /// revision is bad: what differs is the base or a template of one host.
    #[must_use]
    pub fn bars(&self, release: &Release, revision: Option<&Revision>) -> Option<&Quarantined> {
        self.quarantine.iter().rev().find(|bad| {
            let is_release = bad.release == *release && self.completed.as_ref() != Some(release);
            is_release || (revision.is_some() && bad.revision.as_ref() == revision)
        })
    }

    /// Puts a release into quarantine; one that is there already for this revision stays as it is.
    pub fn quarantine(&mut self, bad: Quarantined) -> bool {
        if self.quarantine.iter().any(|known| known.names(&bad)) {
            return false;
        }
        self.quarantine.push(bad);
        let surplus = self.quarantine.len().saturating_sub(REMEMBERED);
        self.quarantine.drain(..surplus);
        true
    }

    /// Lets a release be tried again.
    pub fn lift(&mut self, release: &Release) -> bool {
        let before = self.quarantine.len();
        self.quarantine.retain(|bad| bad.release != *release);
        self.quarantine.len() != before
    }

    /// Notes that a release is completed. One in quarantine is not: somebody knows better.
    pub fn complete(&mut self, release: &Release) -> bool {
        let is_news = self.completed.as_ref() != Some(release) && self.quarantine.iter().all(|bad| bad.release != *release);
        if is_news {
            self.completed = Some(release.clone());
        }
        is_news
    }
}

/// Whether these live instances have completed a release: each has applied it or is held, and of each role that is alive
/// at least one is verified with it, which is what `in_sync` says.
#[must_use]
pub fn is_completed(release: &Release, live: &[Instance]) -> bool {
    let has_it = |instance: &Instance| instance.applied.release.as_ref() == Some(release);
    let mut roles: BTreeMap<&str, bool> = BTreeMap::new();
    for instance in live {
        // Who is held on another release has yet to see this one.
        let is_held = instance.state == State::Held && instance.desired.release.as_ref() == Some(release);
        if !has_it(instance) && !is_held {
            return false;
        }
        let role = role(&instance.labels);
        // A web server that does not run has proved nothing; of other roles nothing answers.
        let is_proved = instance.state == State::InSync && (role != USUAL_ROLE || instance.superset.healthy);
        *roles.entry(role).or_default() |= has_it(instance) && is_proved;
    }
    !roles.is_empty() && roles.into_values().all(|is_verified| is_verified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::instance::{Role, SupersetSeen, Version};

    fn release(name: &str) -> Release {
        Release::new(name)
    }

    fn bad(release: &str, revision: &str) -> Quarantined {
        Quarantined::new(Release::new(release), Revision::new(revision), InstanceId::parse("web-1").unwrap(), "it raises")
    }

    fn live(role: &str, applied: Option<&str>, state: State) -> Instance {
        Instance {
            id: InstanceId::parse("a").unwrap(),
            host: String::new(),
            pid: 1,
            version: String::new(),
            labels: (!role.is_empty()).then(|| ("role".to_owned(), role.to_owned())).into_iter().collect(),
            started_at: String::new(),
            role: Role::Follower,
            state,
            since: String::new(),
            desired: Version { release: Some(release("r")), revision: None },
            applied: Version { release: applied.map(Release::new), revision: None },
            superset: SupersetSeen { healthy: true, ..SupersetSeen::default() },
            error: None,
        }
    }

    #[test]
    fn law_6_a_bad_release_is_barred_for_all_and_a_bad_revision_whatever_release_it_came_from() {
        let mut rollout = Rollout::default();
        assert!(rollout.quarantine(bad("r1", "v1")));
        assert!(!rollout.quarantine(bad("r1", "v1")), "it is known");
        assert!(rollout.bars(&release("r1"), Some(&Revision::new("v9"))).is_some());
        assert!(rollout.bars(&release("r2"), Some(&Revision::new("v1"))).is_some());
        assert!(rollout.bars(&release("r2"), Some(&Revision::new("v2"))).is_none());
        assert!(rollout.bars(&release("r2"), None).is_none());
        assert!(!rollout.complete(&release("r1")), "what is in quarantine is not completed");
        assert!(rollout.lift(&release("r1")) && !rollout.lift(&release("r1")));
        assert!(rollout.complete(&release("r1")) && !rollout.complete(&release("r1")));
        assert!(rollout.quarantine(bad("r1", "v7")));
        assert!(rollout.bars(&release("r1"), Some(&Revision::new("v7"))).is_some());
        assert!(rollout.bars(&release("r1"), Some(&Revision::new("v1"))).is_none(), "it is that host's base");
    }

    #[test]
    fn only_the_newest_are_remembered() {
        let mut rollout = Rollout::default();
        (0..REMEMBERED + 5).for_each(|n| assert!(rollout.quarantine(bad(&format!("r{n}"), "v"))));
        assert_eq!(rollout.quarantine.len(), REMEMBERED);
        assert!(rollout.bars(&release("r4"), None).is_none() && rollout.bars(&release("r24"), None).is_some());
    }

    #[test]
    fn what_is_not_known_is_kept() {
        let text = r#"{"completed":"r0","confirmed":null,"quarantine":[{"release":"r1","revision":null,"instance":null,"reason":null,"at":1}],"later":{"a":[1]}}"#;
        let rollout: Rollout = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&rollout).unwrap(), text);
        let short: Rollout = serde_json::from_str(r#"{"quarantine": [{"release": "r1"}]}"#).unwrap();
        assert_eq!(short.quarantine[0].release, release("r1"));
    }

    #[test]
    fn completed_is_what_all_have_and_each_role_has_verified() {
        let r = release("r");
        let has = |role| live(role, Some("r"), State::InSync);
        assert!(!is_completed(&r, &[]), "nobody has proved anything");
        let down = Instance { superset: SupersetSeen::default(), ..has("web") };
        assert!(!is_completed(&r, std::slice::from_ref(&down)), "its superset does not run");
        assert!(is_completed(&r, &[down, has("web")]));
        assert!(is_completed(&r, &[has(""), has("worker")]));
        assert!(is_completed(&r, &[has("web"), live("", None, State::Held)]), "one sick host vetoes nothing");
        assert!(!is_completed(&r, &[has("web"), live("worker", None, State::Held)]), "no worker has verified it");
        assert!(!is_completed(&r, &[has("web"), live("web", Some("q"), State::Waiting)]));
        assert!(!is_completed(&r, &[has("web"), live("web", Some("q"), State::Paused)]));
        assert!(is_completed(&r, &[has("web"), live("web", Some("r"), State::Failed)]));
        assert!(!is_completed(&r, &[live("web", Some("r"), State::Reloading)]), "applied is not verified");
    }
}
