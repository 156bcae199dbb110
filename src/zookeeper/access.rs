//! How a session is asked for: settings, credentials and PEM files in, a ready connector out.
//!
//! Files are read anew for each session, so that a rotated certificate or password counts from the next one. An
//! [`AccessError`] is a settings error: a person must mend it. Nothing here talks to a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::watch;
use zookeeper_client as zk;

use super::paths::Paths;
use crate::model::secret::SecretText;
use crate::settings::{Acl, AclEntry, Layout, Tls, Zookeeper};

/// What in the settings cannot be used.
#[derive(Clone, Debug, Error)]
pub enum AccessError {
    /// A PEM file cannot be read.
    #[error("failed to read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A PEM file does not hold what it should.
    #[error("failed to use {path}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: zk::Error,
    },
    /// No authorities are configured, and the system has none either.
    #[error("failed to find the system's certificate authorities")]
    NoAuthorities,
    /// Only one half of the client's identity is configured.
    #[error("failed to use source.zookeeper.tls: cert and key go together")]
    HalfIdentity,
    /// The client can switch the check off only in a way that this program forbids itself.
    #[error("failed to use source.zookeeper.tls.verify_hostname: false is not supported")]
    HostnameVerification,
    /// An ACL entry has a letter that means nothing.
    #[error("failed to use source.zookeeper.acl: perms {perms:?} are not letters of cdrwa")]
    Permissions {
        /// The letters.
        perms: String,
    },
    /// The connect string cannot be understood.
    #[error("failed to use source.zookeeper.connect")]
    Connect(#[source] zk::Error),
}

impl AccessError {
    /// What a person may do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoAuthorities => "set source.zookeeper.tls.ca",
            Self::HostnameVerification => "give the servers certificates that bear their names",
            Self::Connect(_) => "expected host:port,host:port with an optional /chroot at the end",
            _ => return None,
        })
    }
}

/// Everything needed to ask for a session.
#[derive(Clone, Debug)]
pub struct Access {
    settings: Zookeeper,
    password: watch::Receiver<Option<SecretText>>,
    paths: Arc<Paths>,
    acls: Arc<AclSet>,
}

/// The ACLs of the nodes that we create.
#[derive(Debug, PartialEq)]
pub(super) struct AclSet {
    /// For all but the key.
    pub nodes: Vec<zk::Acl>,
    /// For the key: whoever may only read the tree does not get it.
    pub key: Vec<zk::Acl>,
}

impl Access {
    /// Takes the settings and the resolved password of `source.zookeeper.auth`; a password that changes while a session
    /// lives begins a new one.
    pub fn new(
        settings: &Zookeeper,
        layout: &Layout,
        password: watch::Receiver<Option<SecretText>>,
    ) -> Result<Self, AccessError> {
        let acls = Arc::new(AclSet::new(&settings.acl)?);
        Ok(Self { paths: Arc::new(Paths::new(&settings.root, layout)), settings: settings.clone(), password, acls })
    }

    /// Where everything lies.
    #[must_use]
    pub fn paths(&self) -> &Arc<Paths> {
        &self.paths
    }

    /// The connect string.
    #[must_use]
    pub fn hosts(&self) -> &str {
        &self.settings.connect
    }

    pub(super) fn acls(&self) -> &Arc<AclSet> {
        &self.acls
    }

    /// A receiver of its own for whoever waits for another password.
    pub(super) fn password(&self) -> watch::Receiver<Option<SecretText>> {
        self.password.clone()
    }

    /// A connector that tries every host once.
    pub(super) fn connector(&self) -> Result<zk::Connector, AccessError> {
        let mut connector = zk::Client::connector().with_session_timeout(self.settings.session_timeout).with_fail_eagerly();
        if let Some(auth) = &self.settings.auth {
            let password = self.password.borrow();
            let password = password.as_ref().map_or("", SecretText::expose);
            connector = connector.with_auth("digest", format!("{}:{password}", auth.username).as_bytes());
        }
        if let Some(tls) = &self.settings.tls {
            connector = connector.with_tls(tls_options(tls)?);
        }
        Ok(connector)
    }

    /// Whether connections use TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.settings.tls.is_some()
    }
}

impl AclSet {
    fn new(acl: &Acl) -> Result<Self, AccessError> {
        let nodes = match acl {
            Acl::Open => zk::Acls::anyone_all().to_vec(),
            Acl::Creator => zk::Acls::creator_all().to_vec(),
            Acl::Entries(entries) => entries.iter().map(entry).collect::<Result<_, _>>()?,
        };
        let writers: Vec<_> = nodes.iter().filter(|acl| acl.permission().has(zk::Permission::WRITE)).cloned().collect();
        let key = if writers.is_empty() { nodes.clone() } else { writers };
        Ok(Self { nodes, key })
    }
}

fn entry(entry: &AclEntry) -> Result<zk::Acl, AccessError> {
    let unknown = || AccessError::Permissions { perms: entry.perms.clone() };
    let permission = entry.perms.chars().try_fold(zk::Permission::NONE, |all, letter| {
        let one = match letter {
            'c' => zk::Permission::CREATE,
            'd' => zk::Permission::DELETE,
            'r' => zk::Permission::READ,
            'w' => zk::Permission::WRITE,
            'a' => zk::Permission::ADMIN,
            _ => return Err(unknown()),
        };
        Ok(all | one)
    })?;
    if permission == zk::Permission::NONE {
        return Err(unknown());
    }
    Ok(zk::Acl::new(permission, zk::AuthId::new(&entry.scheme, &entry.id)))
}

fn tls_options(tls: &Tls) -> Result<zk::TlsOptions, AccessError> {
    if !tls.verify_hostname {
        return Err(AccessError::HostnameVerification);
    }
    let ca = match &tls.ca {
        Some(path) => path.clone(),
        None => openssl_probe::probe().cert_file.ok_or(AccessError::NoAuthorities)?,
    };
    let pem = read(&ca)?;
    let options = zk::TlsOptions::new().with_pem_ca(&pem).map_err(|source| AccessError::Pem { path: ca, source })?;
    match (&tls.cert, &tls.key) {
        (None, None) => Ok(options),
        (Some(cert), Some(key)) => {
            options.with_pem_identity(&read(cert)?, &read(key)?).map_err(|source| AccessError::Pem { path: cert.clone(), source })
        }
        _ => Err(AccessError::HalfIdentity),
    }
}

fn read(path: &Path) -> Result<String, AccessError> {
    std::fs::read_to_string(path).map_err(|source| AccessError::File { path: path.to_owned(), source: Arc::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(scheme: &str, id: &str, perms: &str) -> AclEntry {
        AclEntry { scheme: scheme.into(), id: id.into(), perms: perms.into() }
    }

    #[test]
    fn law_9_who_may_only_read_the_tree_does_not_get_the_key() {
        let acl = Acl::Entries(vec![given("digest", "agents:x", "cdrwa"), given("world", "anyone", "r")]);
        let set = AclSet::new(&acl).unwrap();
        assert_eq!(set.nodes.len(), 2);
        assert_eq!(set.key.iter().map(zk::Acl::scheme).collect::<Vec<_>>(), ["digest"]);
    }

    #[test]
    fn letters_are_permissions_and_others_are_refused() {
        assert_eq!(entry(&given("world", "anyone", "rw")).unwrap().permission(), zk::Permission::READ | zk::Permission::WRITE);
        assert!(entry(&given("world", "anyone", "rx")).is_err());
        assert!(entry(&given("world", "anyone", "")).is_err());
    }

    #[test]
    fn half_an_identity_and_an_unchecked_name_are_refused() {
        let tls = Tls { ca: None, cert: None, key: None, verify_hostname: false };
        assert!(matches!(tls_options(&tls), Err(AccessError::HostnameVerification)));
        let missing = Tls { ca: Some("/nonexistent/ca.pem".into()), verify_hostname: true, ..tls };
        assert!(matches!(tls_options(&missing), Err(AccessError::File { .. })));
    }
}
