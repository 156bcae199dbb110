//! What the config loop is built from: how Superset is told, how a candidate is checked, by what rules a release gets here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::Wiring;
use crate::check::checker::{Checker, Level};
use crate::desired::lens::Lens;
use crate::live::board::{LiveBoard, Shared, is_canary};
use crate::live::machine::{Machine, reload_limit};
use crate::live::superset::Superset;
use crate::model::instance::role;
use crate::reconcile::config::{Boot, ConfigLoop};
use crate::render::renderer::{Renderer, Target};
use crate::rollout::job::{Due, Place as Turn, Rules};
use crate::settings::release::{CheckRequired, Fallback};
use crate::settings::{Settings, Source};
use crate::superset::reload::{Place, Way};
use crate::superset::verify::Verifier;
use crate::world::Board;
use crate::zookeeper::slots::judge::Seeker;
use crate::zookeeper::slots::{LOOK, new_boot};

/// How Superset is told to reload, by these settings, in this place.
pub(in crate::agent) fn way(settings: &Settings, supervisor: Option<i32>) -> anyhow::Result<Way> {
    let role = role(&settings.instance.labels);
    let place = Place { role, config: &settings.render.superset_config.path, supervisor };
    Way::from_settings(&settings.reload, &place).map_err(|error| match error.hint() {
        Some(hint) => anyhow::anyhow!("{error} ({hint})"),
        None => error.into(),
    })
}

/// How long an agent that has just started waits for ZooKeeper until it ends alone what an earlier run has begun.
const ALONE_AFTER: Duration = Duration::from_secs(15);

/// How a release gets onto this instance.
fn rules(settings: &Settings, is_shared: bool) -> Rules {
    let (rollout, limit) = (&settings.rollout, settings.verify.timeout);
    Rules {
        proof: match settings.check.require {
            CheckRequired::Auto => Due::WhereTold,
            CheckRequired::App | CheckRequired::Syntax => Due::Always,
            CheckRequired::None => Due::Never,
        },
        place: match is_shared {
            false => Turn::Alone,
            true if is_canary(&settings.instance.labels) => Turn::Canary,
            true => Turn::InTurn,
        },
        settle: rollout.settle,
        soak: rollout.soak,
        canary_wait: rollout.canary_wait,
        reload_limit: reload_limit(limit),
        verify_limit: limit,
        alone_after: ALONE_AFTER,
        ask_every: LOOK,
        jitter: rand::rng().random_range(0.8..1.2),
    }
}

/// How long a slot stays its holder's without a sign of life: a reload may take two such limits and its proof one; one is left
/// for a sign of life that comes late.
fn lease(settings: &Settings) -> Duration {
    4 * settings.verify.timeout
}

impl Wiring<'_> {
    fn board(&self) -> LiveBoard {
        let settings = self.settings;
        let me = Seeker {
            instance: settings.instance.id.clone(),
            boot: new_boot(),
            count: settings.rollout.slots,
            lease: lease(settings),
        };
        match settings.source {
            Source::Zookeeper(_) => {
                let (cluster, link) = (self.cluster.subscribe(), self.link.subscribe());
                LiveBoard::Shared(Box::new(Shared::new(me, cluster, link, self.bounds())))
            }
            Source::Directory { .. } => LiveBoard::Alone,
        }
    }

    pub(super) fn config_loop(&self, superset: Arc<Superset>) -> anyhow::Result<ConfigLoop<Machine, LiveBoard>> {
        let (settings, board) = (self.settings, self.board());
        let file = &settings.render.superset_config;
        let target = Target { path: file.path.clone(), mode: file.mode };
        let machine = Machine {
            render: settings.render.clone(),
            role: role(&settings.instance.labels).to_owned(),
            way: way(settings, self.supervisor.as_ref().map(|supervisor| supervisor.pid))?,
            supervisor: self.supervisor.clone(),
            has_started: false,
            beat: None,
            checker: Level::from_settings(settings).map(|level| Checker::new(level, settings, std::env::vars_os())),
            verifier: Verifier::new(&settings.verify, &settings.superset.url)?,
            superset,
            state: Arc::clone(&self.state),
            accepted: self.accepted.subscribe(),
            was_told: self.memory.borrow().is_told,
        };
        let fallback = match &settings.boot.fallback {
            Fallback::None => None,
            Fallback::Base => file.base.clone(),
            Fallback::File(path) => Some(path.clone()),
        };
        let boot = self.supervisor.as_ref().map(|_| Boot {
            wait: settings.boot.wait,
            fallback,
            target: target.clone(),
            over_at: Some(Instant::now() + settings.boot.wait),
        });
        Ok(ConfigLoop {
            host: machine,
            rules: rules(settings, board.is_shared()),
            board,
            renderer: Renderer::new(target, settings.instance.labels.clone()),
            lens: Lens::new(settings),
            boot,
            allow_protected: settings.rollout.allow_protected.clone(),
            resync: settings.datasources.resync,
            resolved: self.resolved.subscribe(),
            account: self.account.clone(),
            memory: self.memory.clone(),
            heartbeat: self.heartbeat.clone(),
        })
    }
}
