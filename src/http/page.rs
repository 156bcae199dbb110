//! The status page for people: one HTML text without scripts or foreign parts, made from a [`Report`].
//!
//! Every value is escaped by the template engine, since names and messages come from the tree.

use minijinja::value::Serde;
use minijinja::{Environment, Error, UndefinedBehavior};

use super::Report;

/// The ending tells the engine to escape for HTML.
const NAME: &str = "page.html";

pub(super) fn render(report: &Report) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template(NAME, include_str!("page.html"))?;
    environment.get_template(NAME)?.render(Serde(report))
}
