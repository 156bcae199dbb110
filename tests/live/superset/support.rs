//! What these tests share: clients, and datasources made in one line.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use serde_json::Value as Json;
use setkeeper::model::connection::{Connection, Request, Stored};
use setkeeper::model::datasource::{Datasource, DatasourceName};
use setkeeper::model::digest::DigestKey;
use setkeeper::model::secret::SecretText;
use setkeeper::model::snapshot::Origin;
use setkeeper::model::uri::SqlalchemyUri;
use setkeeper::model::value::{Directive, Key, Value};
use setkeeper::plan::drift::differs;
use setkeeper::plan::request::request;
use setkeeper::superset::client::Client;
use setkeeper::superset::error::CallError;
use tokio::sync::watch;
use url::Url;

/// A password that nothing may ever show.
pub const CANARY: &str = "can@ry/pass:word 100%";

/// How long a call may take.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A client of the Superset at `url`.
pub fn client(url: &str) -> Client {
    client_with(url, "admin", TIMEOUT)
}

/// The same with another password or patience.
pub fn client_with(url: &str, password: &str, timeout: Duration) -> Client {
    client_as(url, "admin", password, timeout)
}

/// The same as another user.
pub fn client_as(url: &str, username: &str, password: &str, timeout: Duration) -> Client {
    let password = watch::channel(SecretText::new(password)).1;
    Client::new(&Url::parse(url).unwrap(), username, password, timeout).unwrap()
}

/// A datasource of this name, with the password that the URI holds.
pub fn datasource(name: &str, uri: &str, fields: &Json) -> Datasource {
    let (uri, password) = SqlalchemyUri::parse(uri).unwrap();
    let fields = fields.as_object().unwrap().iter().map(|(name, field)| (name.clone(), value(field)));
    Datasource {
        name: DatasourceName::new(name),
        origin: Origin::new(format!("/superset/datasources/{name}")),
        database_name: format!("Name of {name}").into(),
        uuid: DatasourceName::new(name).uuid("live"),
        uri,
        password: password.map(|text| Value::Directive(Directive::Secret(text))),
        fields: fields.collect::<BTreeMap<_, _>>(),
        adopt: false,
    }
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap()), |n| Value::Int(n.into())),
        Json::String(text) => Value::Str(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(map) => Value::Map(map.iter().map(|(key, json)| (Key::Str(key.clone()), value(json))).collect()),
    }
}

/// The request for a datasource whose secrets are all in the clear.
pub fn request_for(datasource: &Datasource) -> Request {
    let key = DigestKey::from_bytes(&[1; 32]).unwrap();
    request::<std::convert::Infallible>(datasource, &key, &|_| Ok(SecretText::new("unused"))).unwrap()
}

/// The connection of this datasource in Superset's list.
pub async fn listed(client: &Client, datasource: &Datasource) -> Option<Connection> {
    client.list().await.unwrap().into_iter().find(|connection| connection.uuid == datasource.uuid)
}

/// Creates it, and proves that Superset has it as wanted.
pub async fn create(client: &Client, datasource: &Datasource) -> i64 {
    let request = request_for(datasource);
    let id = client.create(&request).await.unwrap_or_else(|error| panic!("{}: {}", datasource.name, told(&error)));
    assert_in_sync(client, id, datasource).await;
    id
}

/// Superset has it under our UUID, marked, and nothing differs.
pub async fn assert_in_sync(client: &Client, id: i64, datasource: &Datasource) -> Stored {
    let request = request_for(datasource);
    let connection = listed(client, datasource).await.unwrap_or_else(|| panic!("{} is not listed", datasource.name));
    assert_eq!((connection.id, &*connection.database_name), (id, &*datasource.database_name));
    let mark = connection.mark.expect("a mark");
    assert_eq!((mark.name.as_str(), mark.digest.as_str()), (datasource.name.as_str(), request.digest.as_str()));
    let stored = client.stored(id).await.unwrap();
    assert_eq!(differs(&stored, &request), Vec::<String>::new(), "{}: {:?}", datasource.name, stored.fields);
    stored
}

/// Everything that an error tells, sources and debug included; it never tells the canary in any spelling (law 9).
pub fn told(error: &CallError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let everything = format!("{text} {error:?}");
    for canary in [CANARY, "can%40ry", "can@ry", "ry%2Fpass", "ry/pass"] {
        assert!(!everything.contains(canary), "a secret shows: {everything}");
    }
    text
}
