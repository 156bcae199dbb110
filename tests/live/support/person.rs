//! Somebody who uses Superset beside the agent, with a login of their own and none of the agent's code.

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, SET_COOKIE};
use serde_json::{Value as Json, json};

/// A person logged in.
pub struct Person {
    url: String,
    token: String,
    csrf: String,
    cookie: String,
}

impl Person {
    /// The administrator.
    pub async fn admin(url: &str) -> Self {
        let mut person = Self { url: url.to_owned(), token: String::new(), csrf: String::new(), cookie: String::new() };
        let login = json!({"username": "admin", "password": "admin", "provider": "db"});
        let (_, answer, _) = person.send(Method::POST, "/api/v1/security/login", Some(&login)).await;
        person.token = text(&answer["access_token"]);
        let (_, answer, cookie) = person.send(Method::GET, "/api/v1/security/csrf_token/", None).await;
        (person.csrf, person.cookie) = (text(&answer["result"]), cookie);
        person
    }

    /// One call: the status and what Superset answers.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Json>) -> (u16, Json) {
        let (status, answer, _) = self.send(method, path, body).await;
        (status, answer)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Json>) -> (u16, Json, String) {
        let mut request = super::http().request(method, format!("{}{path}", self.url)).header(ACCEPT, "application/json");
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token).header("X-CSRFToken", &self.csrf).header(COOKIE, &self.cookie);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let cookie = answer.headers().get(SET_COOKIE).and_then(|cookie| cookie.to_str().ok()).unwrap_or_default();
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or(Json::String(text)), cookie)
    }

    /// Every connection.
    pub async fn connections(&self) -> Vec<Json> {
        let (status, answer) = self.call(Method::GET, "/api/v1/database/?q=(page_size:-1)", None).await;
        assert_eq!(status, 200, "{answer}");
        answer["result"].as_array().unwrap().clone()
    }

    /// The connections of this name.
    pub async fn named(&self, name: &str) -> Vec<Json> {
        self.connections().await.into_iter().filter(|one| one["database_name"] == name).collect()
    }

    /// Everything that Superset tells of one connection.
    pub async fn connection(&self, id: i64) -> Json {
        let (status, answer) = self.call(Method::GET, &format!("/api/v1/database/{id}/connection"), None).await;
        assert_eq!(status, 200, "{answer}");
        answer["result"].clone()
    }

    /// Makes a connection by hand.
    pub async fn create(&self, fields: &Json) -> i64 {
        let (status, answer) = self.call(Method::POST, "/api/v1/database/", Some(fields)).await;
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_i64().unwrap()
    }

    /// Changes a connection by hand.
    pub async fn change(&self, id: i64, fields: &Json) {
        let (status, answer) = self.call(Method::PUT, &format!("/api/v1/database/{id}"), Some(fields)).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// What a query in SQL Lab brings: its rows, or what Superset says instead.
    pub async fn query(&self, id: i64, schema: Option<&str>, sql: &str) -> Result<Vec<Json>, Json> {
        let body = json!({"database_id": id, "schema": schema, "sql": sql, "runAsync": false});
        match self.call(Method::POST, "/api/v1/sqllab/execute/", Some(&body)).await {
            (200, answer) => Ok(answer["data"].as_array().unwrap().clone()),
            (_, answer) => Err(answer),
        }
    }
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_else(|| panic!("Superset said {json}")).to_owned()
}
