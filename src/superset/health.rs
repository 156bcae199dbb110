//! Whether Superset is there, and which one it is.
//!
//! [`Client::health`] proves that a worker answers and nothing else. The version is shown where Superset tells it to anybody;
//! a Superset that keeps it to itself has none here.

use serde_json::Value as Json;

use super::client::Client;
use super::error::CallError;

impl Client {
    /// Asks once whether a worker answers.
    pub async fn health(&self) -> Result<(), CallError> {
        self.public("/health").await.map(drop)
    }

    /// Superset's version, where it can be known: 6.1 tells it at `/version`, earlier ones in their login page.
    pub async fn version(&self) -> Result<Option<String>, CallError> {
        match self.public("/version").await {
            Ok(text) => Ok(serde_json::from_str::<Json>(&text).ok().and_then(|told| version_in(&told))),
            Err(CallError::Gone) => Ok(version_in_page(&self.public("/login/").await?)),
            Err(error) => Err(error),
        }
    }
}

fn version_in(told: &Json) -> Option<String> {
    told.get("version_string")?.as_str().filter(|text| text.starts_with(|c: char| c.is_ascii_digit())).map(ToOwned::to_owned)
}

/// The page carries JSON in an HTML attribute: `&#34;version_string&#34;: &#34;5.0.0&#34;`.
fn version_in_page(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("version_string")?;
    let from =
        rest.split_once(':')?.1.trim_start().trim_start_matches("&#34;").trim_start_matches("&quot;").trim_start_matches('"');
    let version: String = from.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+')).collect();
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}
