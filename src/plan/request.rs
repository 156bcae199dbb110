//! From a datasource to the exact request that makes Superset have it.
//!
//! In: a [`Datasource`], the key under which secrets are digested, and a lookup that resolves its secrets. Out: a [`Request`]
//! with **every** field that Superset has for a connection, those that the znode leaves out at Superset's own defaults: a
//! field that is taken back in the tree goes back to its default in every Superset alike, however old the connection is.
//! The digest is over what the znode says and its secrets, not over what we add, so that another release of the agent
//! pushes nothing anew (law 10). Whatever may hold a secret is sealed (law 9). Pure: it reads no file and no environment.

use std::collections::BTreeMap;
use std::error::Error;

use serde_json::{Map, Value as Json, json};
use thiserror::Error as ThisError;
use uuid::Uuid;

use crate::model::connection::{MARK, Mark, Request};
use crate::model::datasource::Datasource;
use crate::model::digest::DigestKey;
use crate::model::secret::{SecretText, is_secret_name};
use crate::model::uri::SqlalchemyUri;
use crate::model::value::{Directive, Key, Value};

use super::connect_timeout;

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
    let mut reader = Reader { resolve, secrets: Vec::new() };
    let mut fields = Fields::default();
    for (name, value) in &datasource.fields {
        let before = reader.secrets.len();
        let value = reader.json(value, name, is_secret_name(name))?;
        fields.put(name, value, reader.secrets.len() > before);
    }
    let (uri, has_secret) = reader.uri(&datasource.uri, datasource.password.as_ref())?;
    fields.put("sqlalchemy_uri", json!(uri), has_secret);
    fields.put("database_name", json!(datasource.database_name), false);
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

/// Reads values, resolves their secrets and remembers each.
struct Reader<'a, E> {
    resolve: &'a dyn Fn(&Directive) -> Result<SecretText, E>,
    secrets: Vec<SecretText>,
}

impl<E: Error + 'static> Reader<'_, E> {
    /// `value` as JSON; `is_secret` where the name it stands under says that its text is one.
    fn json(&mut self, value: &Value, field: &str, is_secret: bool) -> Result<Json, RequestError<E>> {
        let not_data = |kind| RequestError::NotData { field: field.to_owned(), kind };
        match value {
            Value::Null => Ok(Json::Null),
            Value::Bool(truth) => Ok(json!(truth)),
            Value::Int(number) => {
                let number = serde_json::Number::from_i128(*number);
                number.map(Json::Number).ok_or_else(|| not_data("a number beyond 64 bits"))
            }
            Value::Float(number) => {
                let number = serde_json::Number::from_f64(*number);
                number.map(Json::Number).ok_or_else(|| not_data("a number that is infinite or none"))
            }
            Value::Str(text) => {
                if is_secret && !text.is_empty() {
                    self.secrets.push(SecretText::new(text.as_str()));
                }
                Ok(json!(text))
            }
            Value::List(items) => {
                let items = items.iter().map(|item| self.json(item, field, is_secret));
                Ok(Json::Array(items.collect::<Result<_, _>>()?))
            }
            Value::Map(map) => {
                let mut object = Map::new();
                for (key, value) in map {
                    let name = name_of(key);
                    let is_secret = is_secret || is_secret_name(&name);
                    let value = self.json(value, &format!("{field}.{name}"), is_secret)?;
                    object.insert(name, value);
                }
                Ok(Json::Object(object))
            }
            Value::Directive(directive) => Ok(json!(self.secret(directive, field)?.expose())),
        }
    }

    fn secret(&mut self, directive: &Directive, field: &str) -> Result<SecretText, RequestError<E>> {
        let secret = match directive {
            Directive::Secret(text) => text.clone(),
            Directive::Env(_) | Directive::File(_) => {
                (self.resolve)(directive).map_err(|source| RequestError::Secret { field: field.to_owned(), source })?
            }
            _ => return Err(RequestError::NotData { field: field.to_owned(), kind: "a directive for Superset's Python" }),
        };
        self.secrets.push(secret.clone());
        Ok(secret)
    }

    fn password(&mut self, value: Option<&Value>) -> Result<Option<SecretText>, RequestError<E>> {
        let field = "password";
        let secret = match value {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Directive(directive)) => return self.secret(directive, field).map(Some),
            Some(Value::Str(text)) => SecretText::new(text.as_str()),
            // A password of digits, written without quotes.
            Some(Value::Int(number)) => SecretText::new(number.to_string()),
            Some(other) => return Err(RequestError::NotData { field: field.to_owned(), kind: other.kind() }),
        };
        self.secrets.push(secret.clone());
        Ok(Some(secret))
    }

    /// The URI with the password in it, and whether it now holds a secret.
    fn uri(&mut self, uri: &SqlalchemyUri, password: Option<&Value>) -> Result<(String, bool), RequestError<E>> {
        let before = self.secrets.len();
        for (name, value) in uri.query_pairs() {
            // pyodbc's whole connection string, password included, can stand in one parameter.
            if is_secret_name(&name) || name == "odbc_connect" {
                self.secrets.push(SecretText::new(value.into_owned()));
            }
        }
        if let Some(password) = self.password(password)? {
            if uri.host().is_none() {
                return Err(RequestError::NoPlaceForPassword { engine: uri.engine().to_owned() });
            }
            return Ok((uri.with_password(&password).expose().to_owned(), true));
        }
        Ok((uri.text(), self.secrets.len() > before))
    }
}

fn name_of(key: &Key) -> String {
    match key {
        Key::Null => "null".to_owned(),
        Key::Bool(truth) => truth.to_string(),
        Key::Int(number) => number.to_string(),
        Key::Str(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::model::datasource::DatasourceName;
    use crate::model::snapshot::Origin;

    #[derive(Debug, ThisError)]
    #[error("no such secret")]
    struct Missing;

    fn key() -> DigestKey {
        DigestKey::from_bytes(&[7; 32]).unwrap()
    }

    fn datasource(uri: &str, password: Option<Value>, fields: &[(&str, Value)]) -> Datasource {
        let name = DatasourceName::new("sales");
        Datasource {
            uuid: name.uuid("superset"),
            name,
            origin: Origin::new("/superset/datasources/sales"),
            database_name: "Sales".to_owned(),
            uri: SqlalchemyUri::parse(uri).unwrap().0,
            password,
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            adopt: false,
        }
    }

    fn map(entries: &[(&str, Value)]) -> Value {
        Value::Map(entries.iter().map(|(name, value)| (Key::from(*name), value.clone())).collect())
    }

    fn build(datasource: &Datasource) -> Request {
        request::<Infallible>(datasource, &key(), &|_| Ok(SecretText::new("from-file"))).unwrap()
    }

    fn body(request: &Request) -> Json {
        serde_json::from_str(request.body().expose()).unwrap()
    }

    fn extra(request: &Request) -> Json {
        serde_json::from_str(body(request)["extra"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn a_bare_uri_becomes_a_request_with_every_field() {
        let request = build(&datasource("druid://broker:8082/druid/v2/sql", None, &[]));
        let mut body = body(&request);
        body["extra"] = extra(&request);
        assert_eq!(
            body,
            json!({
                "allow_ctas": false, "allow_cvas": false, "allow_dml": false, "allow_file_upload": false,
                "allow_run_async": false, "cache_timeout": null, "configuration_method": "sqlalchemy_form",
                "database_name": "Sales", "expose_in_sqllab": true, "external_url": null,
                "extra": {"setkeeper": {"name": "sales", "digest": request.digest}}, "force_ctas_schema": null, "impersonate_user": false,
                "is_managed_externally": true, "masked_encrypted_extra": null, "server_cert": null,
                "sqlalchemy_uri": "druid://broker:8082/druid/v2/sql", "ssh_tunnel": null,
                "uuid": "d0cc5724-5f90-5a9b-b48a-3142f9d3e3f6",
            })
        );
        assert!(request.sealed.is_empty());
    }

    #[test]
    fn a_password_is_encoded_so_that_no_character_of_it_can_move_the_host() {
        let password = Value::from("p@ss/w:rd %+#?\u{e4}'\"");
        let request = build(&datasource("postgresql://bob@db:5432/sales", Some(password), &[]));
        assert_eq!(body(&request)["sqlalchemy_uri"], "postgresql://bob:p%40ss%2Fw%3Ard%20%25%2B%23%3F%C3%A4%27%22@db:5432/sales");
        assert!(request.sealed.contains_key("sqlalchemy_uri"));
    }

    #[test]
    fn law_9_whatever_holds_a_secret_is_sealed_and_known() {
        let fields = [
            ("extra", map(&[("engine_params", map(&[("connect_args", map(&[("password", Value::from("canary-1"))]))]))])),
            ("masked_encrypted_extra", map(&[("credentials_info", map(&[("client", Value::from("canary-2"))]))])),
            ("ssh_tunnel", map(&[("private_key", Value::Directive(Directive::Secret(SecretText::new("canary-3"))))])),
        ];
        let request = build(&datasource("mssql+pyodbc://db:1433/x?odbc_connect=PWD%3Dcanary-4", None, &fields));
        let sealed: Vec<_> = request.sealed.keys().map(String::as_str).collect();
        assert_eq!(sealed, ["extra", "masked_encrypted_extra", "sqlalchemy_uri", "ssh_tunnel"]);
        assert!(!format!("{request:?}").contains("canary"), "{request:?}");
        let mut known: Vec<_> = request.secrets.iter().map(SecretText::expose).collect();
        known.sort_unstable();
        assert_eq!(known, ["PWD=canary-4", "canary-1", "canary-2", "canary-3"]);
    }

    #[test]
    fn the_digest_changes_with_a_secret_and_with_nothing_that_we_add() {
        let by_file = Some(Value::Directive(Directive::File("/run/secrets/sales".to_owned())));
        let datasource = datasource("postgresql://bob@db/sales", by_file, &[]);
        let with =
            |secret: &'static str| request::<Infallible>(&datasource, &key(), &|_| Ok(SecretText::new(secret))).unwrap().digest;
        assert_eq!(with("one"), with("one"));
        assert_ne!(with("one"), with("two"));
        // A changed value here would push every connection in the field again when the agent is upgraded.
        assert_eq!(with("one"), "f1c810301ddd28d8");
    }

    #[test]
    fn a_secret_that_cannot_be_had_names_its_field_and_not_itself() {
        let fields = [("extra", map(&[("x", Value::Directive(Directive::Env("NAME".to_owned())))]))];
        let error = request(&datasource("druid://h", None, &fields), &key(), &|_| Err(Missing)).unwrap_err();
        assert_eq!(error.to_string(), "failed to resolve the secret of extra.x");
    }

    #[test]
    fn what_has_no_place_is_refused() {
        let refused = |datasource: &Datasource| {
            request::<Infallible>(datasource, &key(), &|_| Ok(SecretText::new("x"))).unwrap_err().to_string()
        };
        let duckdb = datasource("duckdb:///tmp/x.db", Some(Value::from("secret")), &[]);
        assert_eq!(refused(&duckdb), "the URI of duckdb has no host, so it cannot carry a password");
        let text = datasource("druid://h", None, &[("extra", Value::from("{}"))]);
        assert_eq!(refused(&text), "extra must be a mapping");
        let nan = datasource("druid://h", None, &[("cache_timeout", Value::Float(f64::NAN))]);
        assert_eq!(refused(&nan), "cache_timeout cannot be a number that is infinite or none");
    }
}
