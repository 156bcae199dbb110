//! What a datasource says, as what Superset takes: values become JSON, the URI gets its password.
//!
//! In: values whose secrets are still directives. Out: JSON with the secrets in it; each is remembered, so that the request can
//! tell which of its fields to seal and what to scrub from Superset's answers (law 9). A value that JSON cannot carry is
//! refused by its field's path. Which fields there are, and their defaults, is not known here.

use std::error::Error;

use serde_json::{Map, Value as Json, json};

use super::RequestError;
use crate::model::secret::{SecretText, is_secret_name};
use crate::model::uri::SqlalchemyUri;
use crate::model::value::{Directive, Key, Value};

/// Reads values, resolves their secrets and remembers each.
pub(super) struct Reader<'a, E> {
    resolve: &'a dyn Fn(&Directive) -> Result<SecretText, E>,
    /// The secrets met so far.
    pub secrets: Vec<SecretText>,
}

impl<'a, E: Error + 'static> Reader<'a, E> {
    /// `resolve` finds what `$env` and `$file` name.
    pub fn new(resolve: &'a dyn Fn(&Directive) -> Result<SecretText, E>) -> Self {
        Self { resolve, secrets: Vec::new() }
    }

    /// `value` as JSON; `is_secret` where the name it stands under says that its text is one.
    pub fn json(&mut self, value: &Value, field: &str, is_secret: bool) -> Result<Json, RequestError<E>> {
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
    pub fn uri(&mut self, uri: &SqlalchemyUri, password: Option<&Value>) -> Result<(String, bool), RequestError<E>> {
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
