//! Superset's API without the agent: the bare loop of POSTs that the agent is compared with.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

const DATABASES: &str = "/api/v1/database/";

/// A login with everything that a write needs.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    url: String,
}

impl Api {
    pub async fn login(url: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let client = |headers: &HeaderMap| reqwest::Client::builder().default_headers(headers.clone()).build().unwrap();
        let credentials = json!({"username": "admin", "password": "admin", "provider": "db"}).to_string();
        let login = client(&headers).post(format!("{url}/api/v1/security/login")).body(credentials);
        let token = parsed(login.send().await.unwrap()).await["access_token"].as_str().unwrap().to_owned();
        headers.insert("Authorization", format!("Bearer {token}").parse().unwrap());
        let answer = client(&headers).get(format!("{url}/api/v1/security/csrf_token/")).send().await.unwrap();
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
        let csrf = parsed(answer).await["result"].as_str().unwrap().to_owned();
        headers.insert("X-CSRFToken", csrf.parse().unwrap());
        headers.insert(COOKIE, cookie.parse().unwrap());
        Self { http: client(&headers), url: url.to_owned() }
    }

    /// Creates a connection to `uri` for each name, this many at a time.
    pub async fn create(&self, names: Vec<String>, uri: &str, concurrency: usize) {
        let body = |name: &String| {
            // As much as the agent sends, in a text that is made beforehand.
            json!({
                "database_name": name, "sqlalchemy_uri": uri, "uuid": uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()),
                "configuration_method": "sqlalchemy_form", "expose_in_sqllab": true, "is_managed_externally": true,
                "extra": r#"{"engine_params": {"connect_args": {"connect_timeout": 10}}}"#,
                "allow_ctas": false, "allow_cvas": false, "allow_dml": false, "allow_file_upload": false,
                "allow_run_async": false, "impersonate_user": false, "cache_timeout": null, "external_url": null,
                "force_ctas_schema": null, "masked_encrypted_extra": null, "server_cert": null,
            })
            .to_string()
        };
        let requests = names.iter().map(|name| (format!("{}{DATABASES}", self.url), Some(body(name))));
        self.each(requests.collect(), concurrency).await;
    }

    /// Deletes the connections of these names.
    pub async fn delete(&self, names: &[String], concurrency: usize) {
        let query = "?q=(columns:!(id,database_name),page_size:-1)";
        let list = parsed(self.http.get(format!("{}{DATABASES}{query}", self.url)).send().await.unwrap()).await;
        let doomed =
            list["result"].as_array().unwrap().iter().filter(|row| names.iter().any(|name| row["database_name"] == **name));
        let requests = doomed.map(|row| (format!("{}{DATABASES}{}", self.url, row["id"]), None));
        self.each(requests.collect(), concurrency).await;
    }

    /// A POST where there is a body, a DELETE where there is none; each must succeed.
    async fn each(&self, requests: Vec<(String, Option<String>)>, concurrency: usize) {
        let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
        let mut loops = JoinSet::new();
        for _ in 0..concurrency {
            let (http, requests, next) = (self.http.clone(), requests.clone(), next.clone());
            loops.spawn(async move {
                while let Some((url, body)) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let request = match body {
                        Some(body) => http.post(url).body(body.clone()),
                        None => http.delete(url),
                    };
                    parsed(request.send().await.unwrap()).await;
                }
            });
        }
        while let Some(ended) = loops.join_next().await {
            ended.unwrap();
        }
    }
}

async fn parsed(answer: reqwest::Response) -> Json {
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap()
}
