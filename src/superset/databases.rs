//! Superset's database connections: observe, create, update, delete.
//!
//! One list call observes all of them; [`Client::stored`] tells the rest about one. Every create and update makes Superset
//! connect to the database behind it. What Superset refuses in vague words ("could not be created") is looked into, so that
//! a conflict or what blocks a delete is named (law 8: whose a connection is, is for the caller to judge by its UUID).

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::answer::CONNECTION_FAILED;
use super::client::{Call, Client};
use super::error::CallError;
use super::scrub::Scrub;
use crate::model::connection::{Connection, Mark, Request, Stored};
use crate::processes::clock::Moment;

const DATABASES: &str = "/api/v1/database/";

/// The fields of [`Connection`]; all the columns of a list of a thousand take Superset nine times as long.
const COLUMNS: &str = "columns:!(id,uuid,database_name,changed_on,extra),page_size:-1";
/// Some connections with every column of theirs.
const WHOLE: &str = "(page_size:100)";

const NAME: &str = "database_name";

const URI: &str = "sqlalchemy_uri";

const TUNNEL: &str = "ssh_tunnel";

/// How often a list that is not whole is asked for.
const LISTINGS: usize = 3;

/// How many dependents of one kind are named.
const NAMED: usize = 5;

/// A connection as the list spells it.
#[derive(Deserialize)]
struct Row {
    id: i64,
    uuid: Option<Uuid>,
    database_name: String,
    changed_on: Option<String>,
    extra: Option<String>,
}

impl From<Row> for Connection {
    fn from(row: Row) -> Self {
        let extra = row.extra.and_then(|text| serde_json::from_str::<Json>(&text).ok());
        Self {
            id: row.id,
            uuid: row.uuid.unwrap_or_default(),
            database_name: row.database_name,
            changed_on: row.changed_on.unwrap_or_default(),
            mark: extra.as_ref().and_then(Mark::of),
        }
    }
}

impl Client {
    /// Every connection that our user can see, by one call.
    pub async fn list(&self) -> Result<Vec<Connection>, CallError> {
        self.listed(&format!("({COLUMNS})"), self.deadline()).await
    }

    /// Asks for whole connections, of which there may be more: Superset decrypts what it stores of each for that, as [`Client::list`]
    /// does not make it do.
    pub async fn read_stored(&self) -> Result<(), CallError> {
        let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", WHOLE).finish();
        self.call(Call { query: &query, ..self.get(DATABASES) }).await.map(drop)
    }

    /// All that Superset tells of one connection.
    pub async fn stored(&self, id: i64) -> Result<Stored, CallError> {
        self.stored_by(id, self.deadline()).await
    }

    async fn stored_by(&self, id: i64, deadline: Moment) -> Result<Stored, CallError> {
        let answer = self.call(Call { deadline, ..self.get(&format!("{DATABASES}{id}/connection")) }).await?;
        let Some(Json::Object(fields)) = answer.get("result") else {
            return Err(CallError::Unexpected("a connection without fields".to_owned()));
        };
        // For an id that it does not have, Superset answers 200 and next to nothing.
        if fields.get("database_name").is_none_or(Json::is_null) {
            return Err(CallError::Gone);
        }
        let fields = fields.iter().map(|(name, value)| (name.clone(), parsed(name, value)));
        Ok(Stored { fields: fields.collect::<BTreeMap<_, _>>() })
    }

    /// Creates a connection and answers with its id.
    pub async fn create(&self, request: &Request) -> Result<i64, CallError> {
        let (body, scrub) = (request.body(), Scrub::new(&request.secrets));
        let call = Call { body: Some(&body), scrub: &scrub, ..self.write(Method::POST, DATABASES) };
        let deadline = call.deadline;
        match self.call(call).await {
            Ok(answer) => answer.get("id").and_then(Json::as_i64).ok_or_else(|| CallError::Unexpected("no id".to_owned())),
            Err(error) => Err(self.explain(error, None, request, deadline).await),
        }
    }

    /// Changes the fields that `request` has, and no other, of the connection `id`: if it still bears the request's UUID, or is
    /// of the request's name where the request gives it that UUID (law 8).
    pub async fn update(&self, id: i64, request: &Request) -> Result<(), CallError> {
        let deadline = self.deadline();
        let there = self.stored_by(id, deadline).await?;
        let is_ours = there.fields.get("uuid") == Some(&json!(request.uuid));
        let is_adopted = request.open.contains_key("uuid") && there.fields.get(NAME) == request.open.get(NAME);
        if !is_ours && !is_adopted {
            return Err(CallError::Gone);
        }
        match self.put(id, request, deadline).await {
            // Up to 5.0, Superset refuses even to take away a tunnel that is not there where tunnels are switched off.
            Err(CallError::Refused(_)) if request.open.get(TUNNEL) == Some(&Json::Null) => {
                let others: Vec<_> = request.names().into_iter().filter(|name| *name != TUNNEL).collect();
                self.put(id, &request.only(&others), deadline).await
            }
            result => result,
        }
    }

    async fn put(&self, id: i64, request: &Request, deadline: Moment) -> Result<(), CallError> {
        let (body, scrub, path) = (request.body(), Scrub::new(&request.secrets), format!("{DATABASES}{id}"));
        match self.call(Call { body: Some(&body), scrub: &scrub, deadline, ..self.write(Method::PUT, &path) }).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain(error, Some(id), request, deadline).await),
        }
    }

    /// Has Superset connect as it would with this connection, and changes nothing.
    pub async fn test(&self, request: &Request) -> Result<(), CallError> {
        // Every other field is refused here.
        let request = request.only(&[NAME, "extra", "impersonate_user", "masked_encrypted_extra", "server_cert", URI, TUNNEL]);
        let (body, scrub, deadline) = (request.body(), Scrub::new(&request.secrets), self.deadline());
        let path = format!("{DATABASES}test_connection/");
        match self.call(Call { body: Some(&body), scrub: &scrub, deadline, ..self.write(Method::POST, &path) }).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.or_no_driver(error, &request, deadline).await),
        }
    }

    /// Deletes the connection `id`, if it still bears this UUID (law 8) and nothing uses it.
    pub async fn delete(&self, id: i64, uuid: Uuid) -> Result<(), CallError> {
        let (path, deadline) = (format!("{DATABASES}{id}"), self.deadline());
        if self.stored_by(id, deadline).await?.fields.get("uuid") != Some(&json!(uuid)) {
            return Err(CallError::Gone);
        }
        match self.call(Call { deadline, ..self.write(Method::DELETE, &path) }).await {
            Ok(_) => Ok(()),
            Err(CallError::Refused(message)) => match self.dependents(id, deadline).await {
                names if names.is_empty() => Err(CallError::Refused(message)),
                names => Err(CallError::Dependents(names)),
            },
            Err(error) => Err(error),
        }
    }

    /// What uses a connection, by name: datasets first, since those alone block its deletion. Whatever our user may not see
    /// is missing.
    async fn dependents(&self, id: i64, deadline: Moment) -> Vec<String> {
        let query = format!("q=(filters:!((col:database,opr:rel_o_m,value:{id})),columns:!(table_name),page_size:{NAMED})");
        let datasets = self.call(Call { query: &query, deadline, ..self.get("/api/v1/dataset/") }).await;
        let path = format!("{DATABASES}{id}/related_objects/");
        let related = self.call(Call { deadline, ..self.get(&path) }).await.unwrap_or_default();
        [
            named("dataset", "table_name", &datasets.unwrap_or_default()),
            named("chart", "slice_name", &related["charts"]),
            named("dashboard", "title", &related["dashboards"]),
        ]
        .concat()
    }

    /// The rows of a list, all of them: one that is not whole would have connections created twice. Superset counts first and
    /// selects then, so a connection deleted in between leaves one too few; more than counted is no fault.
    async fn listed(&self, rison: &str, deadline: Moment) -> Result<Vec<Connection>, CallError> {
        let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", rison).finish();
        let mut lack = String::new();
        for _ in 0..LISTINGS {
            let mut answer = self.call(Call { query: &query, deadline, ..self.get(DATABASES) }).await?;
            // Not by index: to write by one into what is no mapping panics.
            let rows = answer.get_mut("result").map(Json::take).unwrap_or_default();
            let rows: Vec<Row> = serde_json::from_value(rows)
                .map_err(|_| CallError::Unexpected("a list of connections of another shape".to_owned()))?;
            let count = answer["count"].as_u64().unwrap_or_default();
            if usize::try_from(count).is_ok_and(|count| count <= rows.len()) {
                return Ok(rows.into_iter().map(Connection::from).collect());
            }
            lack = format!("{} of {count} connections", rows.len());
        }
        Err(CallError::Unexpected(lack))
    }

    async fn find(&self, column: &str, value: &str, deadline: Moment) -> Option<i64> {
        let value = value.replace('!', "!!").replace('\'', "!'");
        let rison = format!("(filters:!((col:{column},opr:eq,value:'{value}')),{COLUMNS})");
        self.listed(&rison, deadline).await.ok()?.first().map(|connection| connection.id)
    }

    /// The same error, or the conflict or missing driver that it stands for, for which Superset uses words that depend on its
    /// version and that it also uses for other things. All this within what is left of the call's time.
    async fn explain(&self, error: CallError, own: Option<i64>, request: &Request, deadline: Moment) -> CallError {
        if matches!(error, CallError::Refused(_))
            && let Some(conflict) = self.conflict(own, request, deadline).await
        {
            return conflict;
        }
        self.or_no_driver(error, request, deadline).await
    }

    async fn or_no_driver(&self, error: CallError, request: &Request, deadline: Moment) -> CallError {
        let is_vague = match &error {
            CallError::Refused(_) | CallError::Server { .. } => true,
            CallError::Unreachable(message) => message.contains(CONNECTION_FAILED),
            _ => false,
        };
        match engine(request) {
            Some(engine) if is_vague && self.lacks(engine, deadline).await => CallError::NoDriver(engine.to_owned()),
            _ => error,
        }
    }

    async fn conflict(&self, own: Option<i64>, request: &Request, deadline: Moment) -> Option<CallError> {
        let text = |name: &str| request.open.get(name).and_then(Json::as_str);
        let other = |id: &i64| own != Some(*id);
        if let Some(uuid) = text("uuid")
            && let Some(id) = self.find("uuid", uuid, deadline).await.filter(other)
        {
            return Some(CallError::UuidTaken { id });
        }
        let id = self.find(NAME, text(NAME)?, deadline).await.filter(other)?;
        Some(CallError::NameTaken { id })
    }

    /// Whether Superset knows the engines that it can load, and this is none of them.
    async fn lacks(&self, engine: &str, deadline: Moment) -> bool {
        let path = format!("{DATABASES}available/");
        let answer = self.call(Call { deadline, ..self.get(&path) }).await.unwrap_or_default();
        let engines = answer["databases"].as_array().map(Vec::as_slice).unwrap_or_default();
        !engines.is_empty() && !engines.iter().any(|known| known["engine"] == engine)
    }
}

/// The engine alone, from the URI of a request that has one.
fn engine(request: &Request) -> Option<&str> {
    let open = request.open.get(URI).and_then(Json::as_str);
    let uri = open.or_else(|| request.sealed.get(URI).map(|sealed| sealed.expose().trim_start_matches('"')))?;
    uri.split_once("://")?.0.split('+').next()
}

fn parsed(name: &str, value: &Json) -> Json {
    match value {
        Json::String(text) if matches!(name, "extra" | "masked_encrypted_extra") => {
            serde_json::from_str(text).unwrap_or_else(|_| value.clone())
        }
        _ => value.clone(),
    }
}

/// `kind "name"` for the first few of a list, and how many more there are.
fn named(kind: &str, key: &str, list: &Json) -> Vec<String> {
    let rows = list["result"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names = rows.iter().take(NAMED).filter_map(|row| Some(format!("{kind} {:?}", row.get(key)?.as_str()?)));
    let mut names: Vec<_> = names.collect();
    let count = list["count"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
    if count > names.len() && !names.is_empty() {
        names.push(format!("{} more {kind}s", count - names.len()));
    }
    names
}
