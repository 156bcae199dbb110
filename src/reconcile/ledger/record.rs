//! What the ledger learns from outcomes: what Superset has now, what failed and rests, who is an orphan.

use std::collections::BTreeMap;
use std::time::Instant;

use uuid::Uuid;

use super::job::{Fate, Outcome};
use super::{DATABASE_NAME, Ledger, List, WHOLE_COMPARISON};
use crate::model::connection::{Connection, Mark};
use crate::model::datasource::DatasourceName;
use crate::model::status::DatasourceState;
use crate::plan::connections::{self, Settled, Step, Wanted};
use crate::reconcile::backoff::Backoff;
use crate::world::{Fault, FaultKind};

impl Ledger {
    /// Writes down what came of a job.
    pub fn record(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Listed(Ok(connections)) => self.take_list(connections, now),
            Outcome::Listed(Err(fault)) => self.lose_sight(&fault, now),
            Outcome::Looked { name, id, result } => {
                let uuid = self.in_flight.remove(&name).unwrap_or_default();
                match result {
                    Ok(stored) => self.observed.store(id, stored),
                    Err(fault) => self.fail(&name, uuid, &fault, now),
                }
            }
            Outcome::Pushed { name, step, wanted, result } => {
                let uuid = self.in_flight.remove(&name).unwrap_or_default();
                match result {
                    Ok(id) => self.pushed(&name, &step, wanted.as_deref(), id),
                    Err(fault) => self.fail(&name, uuid, &fault, now),
                }
                if self.in_flight.is_empty()
                    && !self.fresh.is_empty()
                    && !self.unjudged.iter().any(|name| self.may_begin(name, now))
                {
                    // One list after a batch: it tells the `changed_on` that our own writes left.
                    self.ask_for_list(now);
                }
            }
        }
    }

    fn take_list(&mut self, connections: Vec<Connection>, now: Instant) {
        self.list = List { due: self.list.due, asked: false, sighted: true, error: None, backoff: Backoff::default() };
        self.observed.refresh(connections, &self.touched);
        self.confirm_pushes(now);
        let touched = &self.touched;
        let (awaiting, listed): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.awaiting_list).into_iter().partition(|(_, uuid)| touched.contains(uuid));
        self.awaiting_list = awaiting;
        let silent = self.failures.iter().filter(|(_, backoff)| backoff.is_silence()).map(|(name, _)| name.clone());
        self.doubtful.extend(silent.chain(listed.into_keys()));
        self.has_observed = true;
        self.doubt_all_at_times(now);
        self.unjudged.extend(self.wanted.keys().cloned());
        self.judge_orphans();
        if now < self.deletions_from {
            // An earlier leader's last write may still be under way: look again before the first deletion.
            self.deletions.clear();
            self.list.due = self.list.due.min(self.deletions_from);
        }
    }

    /// What was pushed before the list was asked for should be in it. What Superset took and did not keep would be pushed again
    /// at once, for ever, and each time Superset would connect to the database behind it: so it rests as a failure does.
    fn confirm_pushes(&mut self, now: Instant) {
        let (untouched, fresh): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.fresh).into_iter().partition(|(uuid, _)| !self.touched.contains(uuid));
        self.fresh = fresh;
        for (uuid, (name, digest)) in untouched {
            let shown = self.observed.by_uuid(uuid);
            if let Some(connection) = shown {
                self.seen.insert(uuid, connection.changed_on.clone());
            }
            let is_kept = shown.is_some_and(|connection| connection.mark.as_ref().is_some_and(|mark| mark.digest == digest));
            let is_wanted_still = self.wanted.get(&name).is_some_and(|wanted| wanted.request.digest == digest);
            if is_kept || !is_wanted_still {
                self.unkept.remove(&name);
                continue;
            }
            let backoff = self.unkept.remove(&name).unwrap_or_default().after_failure(now);
            self.failures.insert(name.clone(), backoff.clone());
            self.unkept.insert(name.clone(), backoff);
            let (database_id, error) = match shown {
                Some(connection) => (Some(connection.id), "superset took the connection and shows another than was pushed"),
                None => (None, "superset took the connection and does not list it: its user may lack all database access"),
            };
            self.fates.insert(name, Fate { state: DatasourceState::Failed, uuid, database_id, error: Some(error.to_owned()) });
        }
    }

    /// A list entry does not show every field, and `changed_on` can be set back: so all are compared whole now and then. Every
    /// resync between costs Superset one call.
    fn doubt_all_at_times(&mut self, now: Instant) {
        if now >= self.whole_comparison_due {
            self.whole_comparison_due = now + WHOLE_COMPARISON * self.rules.resync;
            self.seen.clear();
        }
    }

    /// Superset itself does not answer: nothing is known and nothing is begun until a list comes back.
    fn lose_sight(&mut self, fault: &Fault, now: Instant) {
        let backoff = self.list.backoff.after_failure(now);
        self.list = List { due: backoff.until(), asked: false, sighted: false, error: Some(fault.message.clone()), backoff };
        for (name, wanted) in &self.wanted {
            let fate = self.fates.entry(name.clone()).or_insert_with(|| Fate::pending(wanted.uuid));
            if fate.state == DatasourceState::Pending {
                fate.error = Some(fault.message.clone());
            }
        }
    }

    fn pushed(&mut self, name: &DatasourceName, step: &Step, wanted: Option<&Wanted>, id: i64) {
        self.failures.remove(name);
        self.refusals.remove(name);
        if let Step::Delete { uuid, .. } = step {
            self.observed.remove(*uuid);
            self.seen.remove(uuid);
            self.fates.remove(name);
            return;
        }
        let Some(wanted) = wanted else { return };
        if let Some(connection) = self.moved_aside(step, wanted) {
            self.observed.put(connection);
            self.unjudged.insert(name.clone());
            return;
        }
        let mark = Some(Mark { name: name.as_str().to_owned(), digest: wanted.request.digest.clone() });
        let changed_on = String::new();
        self.seen.insert(wanted.uuid, changed_on.clone());
        self.fresh.insert(wanted.uuid, (name.clone(), wanted.request.digest.clone()));
        self.observed.put(Connection { id, uuid: wanted.uuid, database_name: wanted.database_name.clone(), changed_on, mark });
        // Judged again rather than believed: it may be wanted otherwise by now.
        self.unjudged.insert(name.clone());
        if let Some(now_wanted) = self.wanted.get(name).cloned()
            && *now_wanted == *wanted
        {
            self.settle(name, &Settled::InSync { id });
        }
    }

    /// The connection as it is now, if the step gave it a name only until its own is free.
    fn moved_aside(&self, step: &Step, wanted: &Wanted) -> Option<Connection> {
        let Step::Update { request, .. } = step else { return None };
        let name = request.open.get(DATABASE_NAME)?.as_str().filter(|name| *name != wanted.database_name)?;
        let before = self.observed.by_uuid(wanted.uuid)?;
        Some(Connection { database_name: name.to_owned(), changed_on: String::new(), ..before.clone() })
    }

    fn fail(&mut self, name: &DatasourceName, uuid: Uuid, fault: &Fault, now: Instant) {
        if matches!(fault.kind, FaultKind::Unknown | FaultKind::Silent | FaultKind::Superset | FaultKind::Conflict) {
            // What Superset has now is not known: observe before writing again.
            self.awaiting_list.insert(name.clone(), uuid);
            self.ask_for_list(now);
        }
        if fault.kind == FaultKind::Superset {
            return;
        }
        self.doubtful.remove(name);
        let backoff = self.failures.remove(name).unwrap_or_default();
        let backoff = if fault.kind == FaultKind::Silent {
            // What was slow has been carried out by then, or never will be.
            self.look_again_at = Some(now + self.rules.call_deadline);
            backoff.after_silence(now)
        } else {
            backoff.after_failure(now)
        };
        self.failures.insert(name.clone(), backoff);
        if fault.kind == FaultKind::Refused {
            self.refusals.insert(name.clone(), fault.message.clone());
        }
        if let Some(wanted) = self.wanted.get(name) {
            let database_id = self.observed.by_uuid(wanted.uuid).map(|connection| connection.id);
            let fate = Fate { state: fault.kind.state(), uuid: wanted.uuid, database_id, error: Some(fault.message.clone()) };
            self.fates.insert(name.clone(), fate);
        } else if let Some(orphan) = self.fates.get_mut(name) {
            orphan.error = Some(fault.message.clone());
        }
    }

    pub(super) fn settle(&mut self, name: &DatasourceName, settled: &Settled) {
        self.unjudged.remove(name);
        self.doubtful.remove(name);
        self.failures.remove(name);
        let Some(wanted) = self.wanted.get(name) else { return };
        let uuid = wanted.uuid;
        let fate = match settled {
            Settled::InSync { id } => {
                if let Some(connection) = self.observed.by_uuid(uuid) {
                    self.seen.insert(uuid, connection.changed_on.clone());
                }
                // Up to 5.0, Superset stores a connection whose tunnel does not open, and refuses it all the same.
                let error = self.refusals.get(name).map(|why| format!("superset has it as wanted, and said: {why}"));
                Fate { state: DatasourceState::InSync, uuid, database_id: Some(*id), error }
            }
            Settled::Conflict { id } => {
                let error = format!("superset has another connection named {:?} (id {id})", wanted.database_name);
                Fate { state: DatasourceState::Conflict, uuid, database_id: Some(*id), error: Some(error) }
            }
            Settled::Orphaned { id, uuid, why } => {
                Fate { state: DatasourceState::Orphaned, uuid: *uuid, database_id: Some(*id), error: Some((*why).to_owned()) }
            }
        };
        self.fates.insert(name.clone(), fate);
    }

    pub(super) fn judge_orphans(&mut self) {
        if !self.told {
            return;
        }
        let kept = self.wanted.keys().chain(self.unfit.keys()).cloned().collect();
        let plan =
            connections::plan(&self.rules.cluster, &BTreeMap::new(), &kept, &self.observed, &self.seen, self.rules.pruning);
        let doomed = plan.deletions.iter().filter_map(|(name, step)| match step {
            Step::Delete { id, uuid, .. } => Some((name.clone(), *id, *uuid, None)),
            _ => None,
        });
        let staying = plan.settled.iter().filter_map(|(name, settled)| match settled {
            Settled::Orphaned { id, uuid, why } => Some((name.clone(), *id, *uuid, Some(*why))),
            _ => None,
        });
        let mut earlier = std::mem::take(&mut self.fates);
        for (name, id, uuid, why) in doomed.chain(staying) {
            // What stopped an earlier deletion stands until the next attempt says otherwise.
            let last = earlier.remove(&name).filter(|fate| fate.state == DatasourceState::Orphaned);
            let error = why.map(str::to_owned).or_else(|| last.and_then(|fate| fate.error));
            self.fates.insert(name, Fate { state: DatasourceState::Orphaned, uuid, database_id: Some(id), error });
        }
        earlier.retain(|_, fate| fate.state != DatasourceState::Orphaned);
        self.fates.append(&mut earlier);
        self.deletions = plan.deletions;
    }
}
