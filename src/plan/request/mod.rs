//! From a datasource to the exact request that makes Superset have it.
//!
//! In: a [`Datasource`], the key under which secrets are digested, and a lookup that resolves its secrets. Out: a [`Request`]
//! with **every** field that Superset has for a connection, those that the znode leaves out at Superset's own defaults: a
//! field that is taken back in the tree goes back to its default in every Superset alike, however old the connection is.
//! The digest is over what the znode says and its secrets, not over what we add, so that another release of the agent
//! pushes nothing anew (law 10). Whatever may hold a secret is sealed (law 9). Pure: it reads no file and no environment.

mod values;

use std::collections::BTreeMap;
use std::error::Error;

use serde_json::{Map, Value as Json, json};
use thiserror::Error as ThisError;
use uuid::Uuid;

use crate::model::connection::{MARK, Mark, Request};
use crate::model::datasource::Datasource;
use crate::model::digest::DigestKey;
use crate::model::secret::{SecretText, is_secret_name};
use crate::model::value::Directive;

use super::connect_timeout;
use values::Reader;

/// What the digest means; another text here would push every connection in the field anew.
const PURPOSE: &str = "connection";

/// What Superset itself takes for fields that a POST leaves out (the same in 4.1, 5.0 and 6.1).
fn defaults() -> BTreeMap<String, Json> {
    let off = ["allow_ctas", "allow_cvas", "allow_dml", "allow_file_upload", "allow_run_async", "impersonate_user"];
    let empty = ["cache_timeout", "external_url", "force_ctas_schema", "masked_encrypted_extra", "server_cert", "ssh_tunnel"];
    let off = off.map(|name| (name, json!(false)));
    let empty = empty.map(|name| (name, Json::Null));
    let others = [("configuration_method", json!("sqlalchemy_form")), ("expose_in_sqllab", json!(true)), ("extra", json!({}))];
    off.into_iter().chain(empty).chain(others).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Why a datasource cannot be made a request. `E` is why the lookup failed.
#[derive(Debug, ThisError)]
pub enum RequestError<E: Error + 'static> {
    /// The lookup has no such secret, or must not give it.
    #[error("failed to resolve the secret of {field}")]
    Secret {
        /// The field's dotted path.
        field: String,
        /// Why.
        source: E,
    },
    /// The field cannot carry this value to Superset.
    #[error("{field} cannot be {kind}")]
    NotData {
        /// The field's dotted path.
        field: String,
        /// What it is.
        kind: &'static str,
    },
    /// A field that Superset wants as an object is none.
    #[error("{field} must be a mapping")]
    NotAMapping {
        /// The field.
        field: String,
    },
    /// A URI without a host has no place for a password.
    #[error("the URI of {engine} has no host, so it cannot carry a password")]
    NoPlaceForPassword {
        /// The engine.
        engine: String,
    },
}

/// The request that makes Superset have `datasource`; `resolve` finds what its `$env` and `$file` name.
pub fn request<E: Error + 'static>(
    datasource: &Datasource,
    key: &DigestKey,
    resolve: &dyn Fn(&Directive) -> Result<SecretText, E>,
) -> Result<Request, RequestError<E>> {
    let mut reader = Reader::new(resolve);
    let mut fields = Fields::default();
    for (name, value) in &datasource.fields {
        let before = reader.secrets.len();
        let value = reader.json(value, name, is_secret_name(name))?;
        fields.put(name, value, reader.secrets.len() > before);
    }
    let (uri, has_secret) = reader.uri(&datasource.uri, datasource.password.as_ref())?;
    fields.put("sqlalchemy_uri", json!(uri), has_secret);
    fields.put("database_name", json!(&*datasource.database_name), false);
    fields.put("uuid", json!(datasource.uuid), false);

    let digest = fields.digest(key);
    fields.complete(datasource, &digest, &mut reader.secrets)?;
    Ok(fields.seal(datasource.uuid, reader.secrets, digest))
}

/// The fields in the making: each value, and whether it holds a secret.
#[derive(Default)]
struct Fields(BTreeMap<String, (Json, bool)>);

impl Fields {
    fn put(&mut self, name: &str, value: Json, has_secret: bool) {
        self.0.insert(name.to_owned(), (value, has_secret));
    }

    fn digest(&self, key: &DigestKey) -> String {
        let mut digest = key.digest(PURPOSE);
        for (name, (value, _)) in &self.0 {
            digest.field(name.as_bytes());
            digest.field(value.to_string().as_bytes());
        }
        digest.short()
    }

    /// Adds what the znode does not say, and gives `extra` and `masked_encrypted_extra` the form that Superset wants.
    fn complete<E: Error>(
        &mut self,
        datasource: &Datasource,
        digest: &str,
        secrets: &mut Vec<SecretText>,
    ) -> Result<(), RequestError<E>> {
        for (name, value) in defaults() {
            self.0.entry(name).or_insert((value, false));
        }
        self.put("is_managed_externally", json!(true), false);

        let (mut extra, has_secret) = self.take_mapping("extra")?;
        let (mut encrypted, _) = self.take_mapping("masked_encrypted_extra")?;
        collect_texts(&encrypted, secrets);
        connect_timeout::add(&datasource.uri, &mut extra, &mut encrypted);

        let mark = Mark { name: datasource.name.as_str().to_owned(), digest: digest.to_owned() };
        extra.insert(MARK.to_owned(), mark.json());
        self.put("extra", json!(Json::Object(extra).to_string()), has_secret);
        // An empty object says nothing, and Superset refuses it in some versions.
        let text = if encrypted.is_empty() { Json::Null } else { json!(Json::Object(encrypted).to_string()) };
        let has_secret = !text.is_null();
        self.put("masked_encrypted_extra", text, has_secret);
        Ok(())
    }

    fn take_mapping<E: Error>(&mut self, name: &str) -> Result<(Map<String, Json>, bool), RequestError<E>> {
        match self.0.remove(name) {
            Some((Json::Object(map), has_secret)) => Ok((map, has_secret)),
            None | Some((Json::Null, _)) => Ok((Map::new(), false)),
            Some(_) => Err(RequestError::NotAMapping { field: name.to_owned() }),
        }
    }

    fn seal(self, uuid: Uuid, secrets: Vec<SecretText>, digest: String) -> Request {
        let mut request = Request { uuid, secrets, digest, ..Request::default() };
        for (name, (value, has_secret)) in self.0 {
            if has_secret {
                request.sealed.insert(name, SecretText::new(value.to_string()));
            } else {
                request.open.insert(name, value);
            }
        }
        request
    }
}

/// Text of this length or more, anywhere in `masked_encrypted_extra`, counts as a secret: the whole field is for credentials,
/// but scrubbing its short words (`true`, `rsa`) would garble every message.
const CREDENTIAL_LEN: usize = 8;

fn collect_texts(map: &Map<String, Json>, secrets: &mut Vec<SecretText>) {
    let mut rest: Vec<&Json> = map.values().collect();
    while let Some(value) = rest.pop() {
        match value {
            Json::String(text) if text.len() >= CREDENTIAL_LEN => secrets.push(SecretText::new(text.as_str())),
            Json::Array(items) => rest.extend(items),
            Json::Object(map) => rest.extend(map.values()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
