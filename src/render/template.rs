//! Templates: more files from the resolved config and the labels, by minijinja.
//!
//! `config` and `labels` are in scope; a missing name is an error, nothing is escaped, and there is nothing to include.
//! Data is data. `$secret` is its text, `$tuple` and `$set` are lists, `$class` is a mapping, `$timedelta` its seconds, `$crontab` its line.
//! What only Superset's own process can know (`$env`, `$file`, `$object`, `$ref`, `$merge`, `$python`) cannot be used, and
//! using it says so. An error names the file and the line and never a value.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object, Value as Jinja};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use crate::desired::config::Config;
use crate::model::instance::Labels;
use crate::model::problem::Problem;
use crate::model::snapshot::Origin;
use crate::model::value::{Directive, Key, Value};

/// Renders one template.
pub fn render(origin: &Origin, text: &str, config: &Arc<Config>, labels: &Labels) -> Result<String, Problem> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.map_err(|error| problem(origin, &error))?);
    let scope = minijinja::context! { config => Jinja::from_object(Settings(config.clone())), labels };
    let rendered = environment.template_from_named_str(origin.as_str(), text).and_then(|template| template.render(scope));
    rendered.map_err(|error| problem(origin, &error))
}

fn problem(origin: &Origin, error: &Error) -> Problem {
    let line = error.line().and_then(|line| u64::try_from(line).ok());
    Problem::error(origin, format!("failed to render it: {}", describe(error))).line(line)
}

/// Only kinds whose details name things of the template itself: others may quote a value, and the value may be a secret.
fn describe(error: &Error) -> String {
    let is_safe = matches!(
        error.kind(),
        ErrorKind::SyntaxError
            | ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownMethod
            | ErrorKind::MissingArgument
            | ErrorKind::TooManyArguments
    );
    let ours = error.detail().filter(|detail| REFUSED.iter().any(|(_, message)| message == detail));
    match ours.or_else(|| error.detail().filter(|_| is_safe)) {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

const REFUSED: [(&str, &str); 6] = [
    ("$env", "`$env` cannot be used in a template: only Superset's own process reads it"),
    ("$file", "`$file` cannot be used in a template: only Superset's own process reads it"),
    ("$object", "`$object` cannot be used in a template: it exists in Python only"),
    ("$ref", "`$ref` cannot be used in a template: it exists in Python only"),
    ("$merge", "`$merge` cannot be used in a template: what the base set is known in Python only"),
    ("$python", "`$python` cannot be used in a template: it exists in Python only"),
];

/// The config as a template sees it: a setting is converted when it is asked for.
#[derive(Debug)]
struct Settings(Arc<Config>);

impl Object for Settings {
    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Jinja> {
        self.0.get(key).map(convert)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.settings.keys().map(|name| Jinja::from(name.clone())).collect())
    }
}

fn convert(value: &Value) -> Jinja {
    match value {
        Value::Null => Jinja::from(()),
        Value::Bool(truth) => Jinja::from(*truth),
        Value::Int(number) => Jinja::from(*number),
        Value::Float(number) => Jinja::from(*number),
        Value::Str(text) => Jinja::from(text.as_str()),
        Value::List(items) => items.iter().map(convert).collect::<Vec<_>>().into(),
        Value::Map(inner) => mapping(inner.iter().map(|(key, value)| (convert_key(key), convert(value)))),
        Value::Directive(directive) => convert_directive(directive),
    }
}

fn mapping(entries: impl Iterator<Item = (Jinja, Jinja)>) -> Jinja {
    Jinja::from_object(entries.collect::<BTreeMap<_, _>>())
}

fn convert_key(key: &Key) -> Jinja {
    match key {
        Key::Null => Jinja::from(()),
        Key::Bool(truth) => Jinja::from(*truth),
        Key::Int(number) => Jinja::from(*number),
        Key::Str(text) => Jinja::from(text.as_str()),
    }
}

fn convert_directive(directive: &Directive) -> Jinja {
    match directive {
        Directive::Secret(secret) => Jinja::from(secret.expose()),
        Directive::Tuple(items) | Directive::Set(items) => items.iter().map(convert).collect::<Vec<_>>().into(),
        Directive::Class(attributes) => {
            mapping(attributes.iter().map(|(name, value)| (Jinja::from(name.as_str()), convert(value))))
        }
        Directive::Crontab(fields) => Jinja::from(fields.join(" ")),
        Directive::Timedelta(microseconds) if microseconds % 1_000_000 == 0 => Jinja::from(microseconds / 1_000_000),
        // A duration has at most 63 bits of microseconds, of which a float keeps the most significant 53.
        #[allow(clippy::cast_precision_loss)]
        Directive::Timedelta(microseconds) => Jinja::from(*microseconds as f64 / 1e6),
        Directive::Env(_) => refused("$env"),
        Directive::File(_) => refused("$file"),
        Directive::Object(_) => refused("$object"),
        Directive::Ref(_) => refused("$ref"),
        Directive::Merge(_) => refused("$merge"),
        Directive::Python(_) => refused("$python"),
    }
}

/// A value whose every use is this error.
fn refused(name: &str) -> Jinja {
    let message = REFUSED.iter().find(|(known, _)| *known == name).map_or("", |(_, message)| *message);
    Jinja::from(Error::new(ErrorKind::InvalidOperation, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::SecretText;

    fn config() -> Arc<Config> {
        let secret = |text: &str| Value::Directive(Directive::Secret(SecretText::new(text)));
        let flags = [(Key::from("A"), Value::Bool(true)), (Key::Int(2), Value::Null)].into();
        let settings = [
            ("ROW_LIMIT", Value::Int(5000)),
            ("SECRET_KEY", secret("canary")),
            ("APP_NAME", Value::from("<b>'Ünï'</b>")),
            ("FLAGS", Value::Map(flags)),
            ("LIFE", Value::Directive(Directive::Timedelta(5_400_000_000))),
            ("LANGS", Value::Directive(Directive::Tuple(vec!["en".into(), "de".into()]))),
            ("FROM_ENV", Value::Directive(Directive::Env("HOME".into()))),
            ("NESTED", Value::List(vec![Value::Directive(Directive::File("/x".into()))])),
        ];
        Arc::new(settings.into_iter().collect())
    }

    fn rendered(text: &str) -> Result<String, String> {
        let labels = [("role".to_owned(), "web".to_owned())].into();
        render(&Origin::new("/etc/x.j2"), text, &config(), &labels).map_err(|problem| problem.to_string())
    }

    #[test]
    fn config_and_labels_are_in_scope_and_nothing_is_escaped() {
        for (text, expected) in [
            ("{{ config.ROW_LIMIT }} {{ labels.role }}\n", "5000 web\n"),
            ("{{ config.SECRET_KEY }}|{{ config.APP_NAME }}", "canary|<b>'Ünï'</b>"),
            ("{% if config.FLAGS.A %}on{% endif %} {{ config.FLAGS | length }}", "on 2"),
            ("{{ config.LIFE }} {{ config.LANGS | join(',') }}", "5400 en,de"),
            (
                "{% for name in config %}{{ name }};{% endfor %}",
                "APP_NAME;FLAGS;FROM_ENV;LANGS;LIFE;NESTED;ROW_LIMIT;SECRET_KEY;",
            ),
            ("{{ config.MISSING is defined }} {{ config.MISSING | default('x') }}", "False x"),
            ("{{ config.LANGS | tojson }}", "[\"en\", \"de\"]"),
        ] {
            assert_eq!(rendered(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn errors_name_the_line_and_no_value() {
        for (text, expected) in [
            ("\n{{ config.MISSING }}", "/etc/x.j2:2: failed to render it: undefined value"),
            ("{{ nothing.at.all }}", "/etc/x.j2:1: failed to render it: undefined value"),
            ("a\n{{ config.ROW_LIMIT ", "/etc/x.j2:2: failed to render it: syntax error: "),
            ("{{ 1 | nonesuch }}", "/etc/x.j2:1: failed to render it: unknown filter: "),
            ("{{ config.FROM_ENV }}", "/etc/x.j2:1: failed to render it: invalid operation: `$env` cannot be used in a template"),
            (
                "{{ config.FROM_ENV ~ 'x' }}",
                "/etc/x.j2:1: failed to render it: invalid operation: `$env` cannot be used in a template",
            ),
            (
                "{{ config.NESTED[0] }}",
                "/etc/x.j2:1: failed to render it: invalid operation: `$file` cannot be used in a template",
            ),
            ("{{ config.SECRET_KEY | int }}", "/etc/x.j2:1: failed to render it: invalid operation"),
            ("{{ config.SECRET_KEY + 1 }}", "/etc/x.j2:1: failed to render it: invalid operation"),
            ("{% include 'canary' %}", "/etc/x.j2:1: failed to render it: "),
        ] {
            let problem = rendered(text).unwrap_err();
            assert!(problem.starts_with(expected), "{text}: {problem}");
            assert!(!problem.contains("canary"), "{problem}");
        }
    }
}
