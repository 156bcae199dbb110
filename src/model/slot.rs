//! A slot: leave to reload one instance now, as its znode holds it.
//!
//! No clock is shared: `lease` is a length of time that each side counts on its own clock, the holder on one that a sleep of the machine does
//! not stop.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::digest::Revision;
use super::instance::InstanceId;

/// One run of the agent's process: tells a restarted one from the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Boot(String);

impl Boot {
    /// Names a run by this number, which no other run has.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(format!("{number:016x}"))
    }
}

/// Who holds a slot, for what, and for how long after the last sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Who.
    pub instance: InstanceId,
    /// Which run of its agent.
    pub boot: Boot,
    /// What it is loading.
    pub revision: Revision,
    /// How long the same version must have been seen before somebody else may take it.
    #[serde(serialize_with = "write_lease", deserialize_with = "read_lease")]
    pub lease: Duration,
}

fn write_lease<S: Serializer>(lease: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:#}", SignedDuration::try_from(*lease).unwrap_or(SignedDuration::MAX)))
}

fn read_lease<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let length: SignedDuration = text.parse().map_err(de::Error::custom)?;
    Duration::try_from(length).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_written_for_people_and_read_back() {
        let slot = Slot {
            instance: InstanceId::parse("web-1").unwrap(),
            boot: Boot::new(255),
            revision: Revision::new("r1"),
            lease: Duration::from_millis(270_500),
        };
        let text = serde_json::to_string(&slot).unwrap();
        assert_eq!(text, r#"{"instance":"web-1","boot":"00000000000000ff","revision":"r1","lease":"4m 30s 500ms"}"#);
        assert_eq!(serde_json::from_str::<Slot>(&text).unwrap(), slot);
        assert!(serde_json::from_str::<Slot>(&text.replace("4m", "-4m")).is_err());
    }
}
