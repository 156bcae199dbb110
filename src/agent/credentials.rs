//! The agent's own credentials, and the watch on every secret file.
//!
//! Resolves the passwords for Superset and ZooKeeper, and again whenever a secret's file changed; a file that cannot be read
//! then leaves the password that was. Keeps the set of watched files at what the settings and the valid datasources name.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::model::datasource::Datasource;
use crate::model::secret::SecretText;
use crate::model::value::Directive;
use crate::reconcile::resolve::Resolved;
use crate::secrets;
use crate::settings::{Reference, Settings, Source};

/// The passwords, as they are now.
pub struct Passwords {
    /// For Superset's API.
    pub superset: watch::Sender<SecretText>,
    /// For ZooKeeper, where it is asked for one.
    pub zookeeper: watch::Sender<Option<SecretText>>,
}

impl Passwords {
    /// Resolves them for the first time: then one that cannot be had is an error.
    pub async fn first(settings: &Settings) -> anyhow::Result<Self> {
        let superset = secrets::reference(&settings.superset.password).await.context("failed to resolve superset.password")?;
        let zookeeper = match zookeeper_password(settings) {
            Some(reference) => {
                Some(secrets::reference(reference).await.context("failed to resolve source.zookeeper.auth.password")?)
            }
            None => None,
        };
        Ok(Self { superset: watch::Sender::new(superset), zookeeper: watch::Sender::new(zookeeper) })
    }
}

fn zookeeper_password(settings: &Settings) -> Option<&Reference> {
    match &settings.source {
        Source::Zookeeper(zookeeper) => zookeeper.auth.as_ref().map(|auth| &auth.password),
        Source::Directory { .. } => None,
    }
}

/// The part that keeps them.
pub struct Credentials {
    /// Which references the settings hold.
    pub settings: Settings,
    /// The passwords.
    pub passwords: Passwords,
    /// Grows when a secret's file changed.
    pub generation: watch::Receiver<u64>,
    /// Whose datasources may name files.
    pub resolved: watch::Receiver<Option<Arc<Resolved>>>,
    /// The files to watch.
    pub files: watch::Sender<BTreeSet<PathBuf>>,
}

impl Credentials {
    /// Runs until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            let files = self.files_in_use();
            self.files.send_if_modified(|before| {
                let is_new = *before != files;
                *before = files;
                is_new
            });
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = self.generation.changed() => match changed {
                    Ok(()) => self.resolve_again().await,
                    Err(_) => return,
                },
                changed = self.resolved.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn resolve_again(&self) {
        match secrets::reference(&self.settings.superset.password).await {
            Ok(password) => {
                let is_new = self.passwords.superset.send_if_modified(|before| replace(before, password));
                if is_new {
                    info!("took a new password for superset");
                }
            }
            Err(error) => warn!(%error, "failed to resolve superset.password again; the earlier one stays"),
        }
        let Some(reference) = zookeeper_password(&self.settings) else { return };
        match secrets::reference(reference).await {
            Ok(password) => {
                let is_new = self.passwords.zookeeper.send_if_modified(|before| replace(before, Some(password)));
                if is_new {
                    info!("took a new password for zookeeper");
                }
            }
            Err(error) => warn!(%error, "failed to resolve source.zookeeper.auth.password again; the earlier one stays"),
        }
    }

    fn files_in_use(&mut self) -> BTreeSet<PathBuf> {
        let own = [Some(&self.settings.superset.password), zookeeper_password(&self.settings)];
        let mut files: BTreeSet<_> = own
            .into_iter()
            .flatten()
            .filter_map(|reference| if let Reference::File(path) = reference { Some(path.clone()) } else { None })
            .collect();
        let resolved = self.resolved.borrow_and_update().clone();
        let valid = resolved.as_ref().and_then(|resolved| resolved.datasources()).map(|(valid, _)| valid);
        valid.into_iter().flatten().for_each(|(_, datasource)| name_files(datasource, &mut files));
        files
    }
}

fn replace<T: PartialEq>(before: &mut T, now: T) -> bool {
    let is_new = *before != now;
    *before = now;
    is_new
}

fn name_files(datasource: &Datasource, files: &mut BTreeSet<PathBuf>) {
    for value in datasource.password.iter().chain(datasource.fields.values()) {
        value.visit_directives(&mut |directive| {
            if let Directive::File(path) = directive {
                files.insert(PathBuf::from(path));
            }
        });
    }
}
