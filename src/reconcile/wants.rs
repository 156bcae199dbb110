//! What every datasource's connection should hold, worked out again only where something changed.
//!
//! In: the datasources of the newest accepted tree and the generation of the secret files. Out: what is wanted, and what cannot be
//! pushed as it is, or nothing where both are as they were: an edit of the config costs the connections nothing (law 12).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ledger::job::Unfit;
use super::resolve::Resolved;
use crate::desired::datasources::{Invalid, Valid};
use crate::model::datasource::{Datasource, DatasourceName};
use crate::model::digest::DigestKey;
use crate::model::status::DatasourceState;
use crate::plan::connections::Wanted;
use crate::world::{Connections, Fault};

/// What is wanted, and what is unfit.
pub type Sorted = (BTreeMap<DatasourceName, Arc<Wanted>>, BTreeMap<DatasourceName, Unfit>);

/// What was worked out so far.
#[derive(Default)]
pub struct Wants {
    known: BTreeMap<DatasourceName, Known>,
    told: Option<(Valid, Invalid, u64)>,
}

/// One datasource, and what its connection should hold.
struct Known {
    generation: u64,
    datasource: Arc<Datasource>,
    wanted: Result<Arc<Wanted>, Fault>,
}

impl Wants {
    /// Tells everything again next time: whoever listens is new.
    pub fn forget_listener(&mut self) {
        self.told = None;
    }

    /// Works out what changed; `None` where nothing did, or where no tree was accepted yet.
    pub async fn take(
        &mut self,
        world: &impl Connections,
        cluster: &str,
        resolved: &Resolved,
        generation: u64,
    ) -> Option<Sorted> {
        let (valid, invalid) = resolved.datasources()?;
        if self.told.as_ref().is_some_and(|told| is_same(told, valid, invalid, generation)) {
            return None;
        }
        let (mut wanted, mut unfit) = (BTreeMap::new(), BTreeMap::new());
        let mut before = std::mem::take(&mut self.known);
        for (name, datasource) in valid {
            let earlier = before.remove(name).filter(|known| known.is_for(datasource, generation));
            let known = match earlier {
                Some(known) => known,
                None => Known::work_out(world, &resolved.key, datasource, generation).await,
            };
            match &known.wanted {
                Ok(fit) => drop(wanted.insert(name.clone(), Arc::clone(fit))),
                Err(fault) => {
                    let (state, error) = (DatasourceState::Failed, fault.message.clone());
                    unfit.insert(name.clone(), Unfit { state, uuid: datasource.uuid, error });
                }
            }
            self.known.insert(name.clone(), known);
        }
        for (name, problems) in invalid {
            let error = problems.first().map_or_else(String::new, ToString::to_string);
            unfit.insert(name.clone(), Unfit { state: DatasourceState::Invalid, uuid: name.uuid(cluster), error });
        }
        self.told = Some((valid.clone(), invalid.clone(), generation));
        Some((wanted, unfit))
    }
}

impl Known {
    async fn work_out(world: &impl Connections, key: &DigestKey, datasource: &Arc<Datasource>, generation: u64) -> Self {
        let wanted = world.wanted(key, datasource).await.map(Arc::new);
        Self { generation, datasource: Arc::clone(datasource), wanted }
    }

    fn is_for(&self, datasource: &Arc<Datasource>, generation: u64) -> bool {
        self.generation == generation && Arc::ptr_eq(&self.datasource, datasource)
    }
}

/// Whether nothing changed; it costs what did.
fn is_same(told: &(Valid, Invalid, u64), valid: &Valid, invalid: &Invalid, generation: u64) -> bool {
    told.2 == generation && told.0.diff(valid).next().is_none() && told.1.diff(invalid).next().is_none()
}
