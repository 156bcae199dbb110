//! What the programs of a check answer, and the report that it makes.
//!
//! In: lines of JSON, what was said besides, how the program ended. Out: a [`Report`] without secrets. Only an answer makes a verdict:
//! an exit status never does, since a candidate may end the process with any. What Superset loaded is digested under the
//! cluster's key here, in the agent, so that no candidate ever meets the key.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::process::{Ended, Environment, How};
use super::report::{Outcome, Report};
use crate::desired::redact::password;
use crate::model::digest::DigestKey;
use crate::model::protected::Protected;
use crate::model::secret::{SecretText, is_secret_name};
use crate::superset::scrub::Scrub;

/// How many lines are kept.
const LINES: usize = 20;
/// A shorter value of a variable is part of ordinary words, and its name alone makes it no secret.
const SHORT: usize = 4;

/// What a shell calls the folders it works in looks like the name of a password.
const FOLDERS: [&str; 2] = ["PWD", "OLDPWD"];

/// All that a program answered.
#[derive(Default)]
pub(super) struct Answers {
    /// Whether it got as far as being bounded.
    pub(super) begun: bool,
    /// What it was trying last.
    pub(super) trial: Option<String>,
    pub(super) loaded: Option<Loaded>,
    pub(super) verdict: Option<Verdict>,
    /// Whether the template was made.
    pub(super) made: bool,
    pub(super) version: Option<String>,
    pub(super) schema: Vec<String>,
}

/// What Superset loaded.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Loaded {
    #[serde(deserialize_with = "hidden")]
    secret_key: Option<SecretText>,
    #[serde(deserialize_with = "hidden")]
    metadata_uri: Option<SecretText>,
    #[serde(deserialize_with = "all_hidden")]
    secrets: Vec<SecretText>,
}

/// What a probe came to.
#[derive(Deserialize)]
pub(super) struct Verdict {
    outcome: Outcome,
    #[serde(default)]
    trial: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Line {
    begun: bool,
    made: bool,
    trial: Option<String>,
    loaded: Option<Loaded>,
    verdict: Option<Verdict>,
    version: Option<String>,
    schema: Vec<String>,
}

fn hidden<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretText>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(SecretText::new))
}

fn all_hidden<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SecretText>, D::Error> {
    Ok(Vec::<String>::deserialize(from)?.into_iter().map(SecretText::new).collect())
}

impl Answers {
    /// Reads them; a line that is not one of ours is passed over.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut all = Self::default();
        let lines = bytes.split(|byte| *byte == b'\n');
        for line in lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok()) {
            all.begun |= line.begun;
            all.made |= line.made;
            all.trial = line.trial.or(all.trial);
            all.loaded = line.loaded.or(all.loaded);
            all.verdict = line.verdict.or(all.verdict);
            all.version = line.version.or(all.version);
            if !line.schema.is_empty() {
                all.schema = line.schema;
            }
        }
        all
    }
}

/// The report of a probe; `secrets` are those that the agent knows the candidate to hold.
pub(super) fn report(
    ended: &Ended,
    secrets: &[SecretText],
    environment: &Environment,
    key: &DigestKey,
    limit: Duration,
) -> Report {
    let loaded = ended.answers.loaded.as_ref();
    let scrub = scrub(secrets.iter().chain(loaded.into_iter().flat_map(Loaded::secrets)), environment);
    let mut report = match &ended.answers.verdict {
        Some(verdict) => {
            let why = match verdict.outcome {
                Outcome::Proven => "passed".to_owned(),
                _ => format!("{}: {}", verdict.trial, verdict.why),
            };
            Report { outcome: verdict.outcome, warnings: verdict.warnings.clone(), ..Report::inconclusive(why) }
        }
        None => without_verdict(ended, limit),
    };
    report.why = scrub.clean(&report.why);
    report.warnings.iter_mut().for_each(|warning| *warning = scrub.clean(warning));
    report.last_lines = last_lines(&ended.said, &scrub);
    if let Some(loaded) = loaded {
        report.protected = loaded.protected(key);
    }
    report
}

fn without_verdict(ended: &Ended, limit: Duration) -> Report {
    let trial = ended.answers.trial.as_deref().unwrap_or("start");
    let why = format!("{trial}: {}", how(ended.how, limit));
    let is_its_own_end = ended.answers.begun && matches!(ended.how, How::Exited(_));
    let outcome = if is_its_own_end { Outcome::Invalid } else { Outcome::Inconclusive };
    Report { outcome, ..Report::inconclusive(why) }
}

/// How a program ended that should have answered.
pub(super) fn how(how: How, limit: Duration) -> String {
    match how {
        How::TooSlow => format!("not done within {limit:?}"),
        How::Exited(status) => format!("the process was ended from within, with exit status {status}"),
        How::Signalled(9) => "the process was killed, perhaps for want of memory".to_owned(),
        How::Signalled(signal) => format!("the process was ended by signal {signal}"),
        How::Unknown => "the process ended without a verdict".to_owned(),
    }
}

/// Looks for these, and for what the environment holds under names of secrets.
pub(super) fn scrub<'a>(secrets: impl Iterator<Item = &'a SecretText>, environment: &Environment) -> Scrub {
    let of_environment = environment
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
        .filter(|(name, _)| !FOLDERS.contains(name))
        .filter_map(|(name, value)| if is_secret_name(name) { Some(value) } else { password(value) })
        .filter(|value| value.len() >= SHORT)
        .map(SecretText::new);
    let all: Vec<_> = secrets.cloned().chain(of_environment).collect();
    Scrub::new(&all)
}

/// The last lines that say something.
pub(super) fn last_lines(said: &str, scrub: &Scrub) -> Vec<String> {
    let mut lines: Vec<_> =
        said.lines().rev().filter(|line| !line.trim().is_empty()).take(LINES).map(|line| scrub.clean(line)).collect();
    lines.reverse();
    lines
}

impl Loaded {
    fn secrets(&self) -> impl Iterator<Item = &SecretText> {
        let own = [&self.secret_key, &self.metadata_uri].into_iter().flatten().filter(|text| text.expose().len() >= SHORT);
        own.chain(&self.secrets)
    }

    fn protected(&self, key: &DigestKey) -> Protected {
        let digest = |purpose: &str, text: &Option<SecretText>| {
            text.as_ref().map(|text| {
                let mut digest = key.digest(purpose);
                digest.field(text.expose().as_bytes());
                digest.short()
            })
        };
        let (secret_key, metadata_uri) =
            (digest("protected SECRET_KEY", &self.secret_key), digest("protected SQLALCHEMY_DATABASE_URI", &self.metadata_uri));
        let under = (secret_key.is_some() || metadata_uri.is_some()).then(|| key.digest("protected").short());
        Protected { under, secret_key, metadata_uri }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> DigestKey {
        DigestKey::from_bytes(&[byte; DigestKey::LEN]).unwrap()
    }

    fn judged(answers: &str, said: &str, how: How) -> Report {
        let ended = Ended { answers: Answers::read(answers.as_bytes()), said: said.to_owned().into(), how };
        let environment = Environment::from([
            ("APP_TOKEN".into(), "canary-of-the-environment".into()),
            ("DATABASE".into(), "postgresql://u:canary-in-a-uri@h/d".into()),
            ("USE_TOKEN".into(), "no".into()),
        ]);
        report(&ended, &[SecretText::new("canary-handed-in")], &environment, &key(1), Duration::from_secs(60))
    }

    const LOADED: &str =
        r#"{"loaded": {"secret_key": "canary-key", "metadata_uri": "x://u:canary-pw@h/d", "secrets": ["canary-pw"]}}"#;

    #[test]
    fn only_an_answer_makes_a_verdict() {
        use Outcome::{Inconclusive, Invalid, Proven};
        let begun = "{\"begun\": true}\n{\"trial\": \"loading\"}\n";
        let proven = format!("{begun}{LOADED}\n{{\"verdict\": {{\"outcome\": \"proven\"}}}}\n");
        for (answers, how, outcome, why) in [
            (proven.as_str(), How::Exited(0), Proven, "passed"),
            (&proven, How::Unknown, Proven, "passed"),
            (begun, How::Exited(0), Invalid, "loading: the process was ended from within, with exit status 0"),
            ("", How::Exited(0), Inconclusive, "start: the process was ended from within, with exit status 0"),
            (begun, How::TooSlow, Inconclusive, "loading: not done within 60s"),
            (begun, How::Signalled(9), Inconclusive, "loading: the process was killed, perhaps for want of memory"),
            (begun, How::Signalled(11), Inconclusive, "loading: the process was ended by signal 11"),
            ("proven\n{\"verdict\": 1}\n", How::Unknown, Inconclusive, "start: the process ended without a verdict"),
        ] {
            let report = judged(answers, "", how);
            assert_eq!((report.outcome, report.why.as_str()), (outcome, why), "{answers} {how:?}");
        }
    }

    #[test]
    fn law_9_a_report_shows_no_secret_that_anybody_knows_of() {
        let verdict = r#"{"verdict": {"outcome": "invalid", "trial": "x", "why": "bad canary-key\nand canary-pw", "warnings": ["canary-pw"]}}"#;
        let said = "a canary-handed-in\n\nb canary-of-the-environment\nc canary-in-a-uri x://y:canary@z no\n";
        let report = judged(&format!("{LOADED}\n{verdict}"), said, How::Exited(0));
        assert_eq!(report.why, "x: bad *** and ***");
        assert_eq!(report.last_lines, ["a ***", "b ***", "c *** x://y:***@z no"]);
        assert!(!format!("{report:?}").contains("canary"));
    }

    #[test]
    fn what_is_protected_shows_as_a_digest_under_the_key() {
        let one = Answers::read(LOADED.as_bytes()).loaded.unwrap();
        let other = Answers::read(LOADED.replace("canary-key", "another").as_bytes()).loaded.unwrap();
        assert_eq!(one.protected(&key(1)), one.protected(&key(1)));
        assert!(one.protected(&key(1)).is_comparable(&other.protected(&key(1))));
        assert!(!one.protected(&key(1)).is_comparable(&one.protected(&key(2))));
        assert_eq!(other.protected(&key(1)).changed_from(&one.protected(&key(1))), ["SECRET_KEY"]);
        assert_eq!(Loaded::default().protected(&key(1)), Protected::default());
    }

    #[test]
    fn the_last_lines_are_kept_and_no_more() {
        let said: String = (0..50).map(|n| format!("line {n}\n")).collect();
        let lines = last_lines(&said, Scrub::patterns());
        assert_eq!((lines.len(), lines[0].as_str(), lines[LINES - 1].as_str()), (LINES, "line 30", "line 49"));
    }
}
