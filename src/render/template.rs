//! Files from templates: minijinja over the resolved config and the labels.
//!
//! In scope are `config` (each setting by name) and `labels`. Missing names are errors, nothing is escaped: the result is
//! a plain text file. `$secret` is its text; tuples and sets are sequences; a timedelta is its seconds. What only
//! Superset can resolve while it loads (`$env`, `$file`, `$object`, `$ref`, `$crontab`, `$python`) is an error where it is used.

use minijinja::value::Value as Shown;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, context};

use crate::desired::config::Config;
use crate::model::instance::Labels;
use crate::model::problem::Problem;
use crate::model::snapshot::Origin;
use crate::model::value::{Directive, Key, Value};

/// Renders the template `text`, which was read from `origin`.
pub fn render(origin: &Origin, text: &str, config: &Config, labels: &Labels) -> Result<String, Problem> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let config: Shown = config.settings.iter().map(|(name, setting)| (&**name, shown(setting.value()))).collect();
    let mut result = environment
        .render_named_str(origin.as_str(), text, context! { config, labels })
        .map_err(|error| problem(origin, &error))?;
    // minijinja drops the line end at a template's end, which belongs to a text file.
    if text.ends_with('\n') {
        result.push('\n');
    }
    Ok(result)
}

fn problem(origin: &Origin, error: &Error) -> Problem {
    let line = error.line().and_then(|line| u64::try_from(line).ok());
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    let problem = Problem::error(origin, format!("{}{detail}", error.kind())).line(line);
    match error.kind() {
        ErrorKind::UndefinedError => {
            problem.hint("in scope are config.<SETTING> and labels.<label>; use the filter `default` for what may be missing")
        }
        _ => problem,
    }
}

fn shown(value: &Value) -> Shown {
    match value {
        Value::Null => Shown::from(()),
        Value::Bool(truth) => Shown::from(*truth),
        Value::Int(number) => Shown::from(*number),
        Value::Float(number) => Shown::from(*number),
        Value::Str(text) => Shown::from(text.as_str()),
        Value::List(items) => items.iter().map(shown).collect(),
        Value::Map(map) => map.iter().map(|(key, value)| (shown_key(key), shown(value))).collect(),
        Value::Directive(directive) => shown_directive(directive),
    }
}

fn shown_key(key: &Key) -> Shown {
    match key {
        Key::Null => Shown::from(()),
        Key::Bool(truth) => Shown::from(*truth),
        Key::Int(number) => Shown::from(*number),
        Key::Str(text) => Shown::from(text.as_str()),
    }
}

fn shown_directive(directive: &Directive) -> Shown {
    #[expect(clippy::cast_precision_loss, reason = "seconds of a duration, for people and config files")]
    let seconds = |microseconds: i64| microseconds as f64 / 1e6;
    match directive {
        Directive::Secret(text) => Shown::from(text.expose()),
        Directive::Timedelta(microseconds) => Shown::from(seconds(*microseconds)),
        Directive::Tuple(items) | Directive::Set(items) => items.iter().map(shown).collect(),
        Directive::Class(attributes) => attributes.iter().map(|(name, value)| (name.as_str(), shown(value))).collect(),
        Directive::Merge(map) => map.iter().map(|(key, value)| (shown_key(key), shown(value))).collect(),
        Directive::Env(_) => unusable("$env"),
        Directive::File(_) => unusable("$file"),
        Directive::Crontab(_) => unusable("$crontab"),
        Directive::Object { .. } => unusable("$object"),
        Directive::Ref(_) => unusable("$ref"),
        Directive::Python(_) => unusable("$python"),
    }
}

/// A value that fails where a template uses it.
fn unusable(directive: &str) -> Shown {
    let detail = format!("{directive} is resolved by superset as it loads and cannot be used in a template");
    Shown::from(Error::new(ErrorKind::InvalidOperation, detail))
}
