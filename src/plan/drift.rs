//! Drift: which fields Superset has otherwise than a request would make them.
//!
//! In: a connection as Superset stores it, and the [`Request`]. Out: the names of the fields, sorted, to log and to PUT.
//! What Superset does to a value by itself is no drift: it masks passwords, drops needless escapes from a URI, numbers an SSH
//! tunnel, and says nothing in several ways (null, empty text, an empty object). After a PUT of what differs nothing
//! differs (law 3). Secrets are compared only where Superset shows them; names leave here, values never (law 9).

use serde_json::Value as Json;

use crate::model::connection::{INVISIBLE, MARK, Request, Stored};

use super::same_uri::same_uri;

/// What Superset shows in place of a password, and takes for "leave it as it is".
pub(super) const MASK: &str = "XXXXXXXXXX";

/// The names of the fields that are seen to differ, sorted.
#[must_use]
pub fn differs(stored: &Stored, request: &Request) -> Vec<String> {
    let open = request.open.iter().map(|(name, value)| (name, Some(value.clone())));
    let sealed = request.sealed.iter().map(|(name, text)| (name, serde_json::from_str(text.expose()).ok()));
    let mut names: Vec<_> = open
        .chain(sealed)
        .filter(|(name, _)| name.as_str() != INVISIBLE)
        .filter(|(name, wanted)| !wanted.as_ref().is_some_and(|wanted| same(name, wanted, stored.fields.get(*name))))
        .map(|(name, _)| name.clone())
        .collect();
    names.sort_unstable();
    names
}

fn same(name: &str, wanted: &Json, stored: Option<&Json>) -> bool {
    let stored = stored.unwrap_or(&Json::Null);
    match (name, wanted, stored) {
        ("sqlalchemy_uri", Json::String(wanted), Json::String(stored)) => same_uri(wanted, stored),
        ("extra" | "masked_encrypted_extra", ..) => same_json(&parsed(wanted), &parsed(stored)),
        ("ssh_tunnel", Json::Object(wanted), Json::Object(stored)) => {
            let mut stored = stored.clone();
            stored.shift_remove("id");
            same_json(&Json::Object(wanted.clone()), &Json::Object(stored))
        }
        // Certificates end in a line end or not, as editors please.
        (_, Json::String(wanted), Json::String(stored)) => wanted.trim_end() == stored.trim_end(),
        _ => same_json(wanted, stored),
    }
}

/// A JSON text as what it says, without our mark.
fn parsed(value: &Json) -> Json {
    let mut value = match value {
        Json::String(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        other => other.clone(),
    };
    if let Json::Object(map) = &mut value {
        map.shift_remove(MARK);
    }
    value
}

/// Whether `stored` says the same as `wanted`, where a mask stands for anything: up to 5.0, Superset masks numbers and whole
/// mappings too.
fn same_json(wanted: &Json, stored: &Json) -> bool {
    match (wanted, stored) {
        (wanted, Json::String(stored)) if stored == MASK => !is_nothing(wanted),
        (Json::Object(wanted), Json::Object(stored)) => {
            wanted.len() == stored.len()
                && wanted.iter().all(|(key, value)| stored.get(key).is_some_and(|stored| same_json(value, stored)))
        }
        (Json::Array(wanted), Json::Array(stored)) => {
            wanted.len() == stored.len() && wanted.iter().zip(stored).all(|(wanted, stored)| same_json(wanted, stored))
        }
        (Json::Number(wanted), Json::Number(stored)) => wanted == stored || wanted.as_f64() == stored.as_f64(),
        _ => wanted == stored || (is_nothing(wanted) && is_nothing(stored)),
    }
}

fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::String(text) => text.is_empty(),
        Json::Object(map) => map.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::secret::SecretText;

    fn stored(fields: &Json) -> Stored {
        Stored { fields: fields.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone())).collect() }
    }

    fn request(open: &Json, sealed: &Json) -> Request {
        let sealed = sealed.as_object().unwrap().iter();
        Request {
            uuid: uuid::Uuid::nil(),
            open: open.as_object().unwrap().clone().into_iter().collect(),
            sealed: sealed.map(|(name, value)| (name.clone(), SecretText::new(value.to_string()))).collect(),
            secrets: Vec::new(),
            digest: "new".to_owned(),
        }
    }

    #[test]
    fn what_superset_does_to_values_by_itself_is_no_drift() {
        let wanted = request(
            &json!({
                "cache_timeout": null, "force_ctas_schema": null, "server_cert": "CERT\n", "allow_dml": true,
                "extra": "{\"a\":{\"b\":1.0},\"setkeeper\":{\"name\":\"n\",\"digest\":\"new\"}}", "external_url": "http://x",
            }),
            &json!({
                "sqlalchemy_uri": "postgresql://b%20b:secret@DB:5432/d?b=2&a=x%20y",
                "masked_encrypted_extra": "{\"private_key\":\"secret\",\"id\":\"x\",\"args\":{\"a\":1}}",
                "ssh_tunnel": {"server_address": "h", "server_port": 22, "username": "u", "password": "secret"},
            }),
        );
        let there = stored(&json!({
            "force_ctas_schema": "", "server_cert": "CERT", "allow_dml": true, "backend": "postgresql",
            "extra": {"setkeeper": {"name": "n", "digest": "old"}, "a": {"b": 1}},
            "sqlalchemy_uri": "postgresql://b b:XXXXXXXXXX@db:5432/d?a=x+y&b=2",
            "masked_encrypted_extra": {"id": "x", "private_key": "XXXXXXXXXX", "args": "XXXXXXXXXX"},
            "ssh_tunnel": {"id": 7, "server_address": "h", "server_port": 22, "username": "u", "password": "XXXXXXXXXX"},
        }));
        assert_eq!(differs(&there, &wanted), Vec::<String>::new());
    }

    #[test]
    fn every_field_that_differs_is_named() {
        let wanted = request(
            &json!({"allow_dml": true, "cache_timeout": 0, "extra": "{\"a\":1}", "ssh_tunnel": null, "uuid": "u"}),
            &json!({"sqlalchemy_uri": "pg://u:s@h/d", "masked_encrypted_extra": "{\"a\":\"s\"}"}),
        );
        let there = stored(&json!({
            "allow_dml": false, "cache_timeout": null, "extra": {"a": 1, "by_hand": true}, "ssh_tunnel": {"id": 1, "username": "x"},
            "uuid": "v", "sqlalchemy_uri": "pg://u:XXXXXXXXXX@other/d", "masked_encrypted_extra": {"a": "XXXXXXXXXX", "b": 1},
        }));
        let all = ["allow_dml", "cache_timeout", "extra", "masked_encrypted_extra", "sqlalchemy_uri", "ssh_tunnel", "uuid"];
        assert_eq!(differs(&there, &wanted), all);
    }
}
