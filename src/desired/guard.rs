//! The guard: is so much of the tree gone at once that somebody should be asked first (law 2)?
//!
//! In goes what was accepted last (an [`Inventory`], kept in the state directory) and what the tree holds now. A tree is
//! held when its config is suddenly empty, or when it lost more datasources at once than `layout.max_loss` and at least
//! three: a wrong chroot, a half-restored backup, a script gone wild. It stays held until it is whole again, or until a
//! person confirmed its digest (`setkeeper rollout confirm`). Empty is not absent: what was never there is not missed.

use std::sync::Arc;

use imbl::OrdSet;
use imbl::ordset::DiffItem;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Held;
use super::fragment::open;
use super::notes::{Field, Notes};
use crate::model::digest::TreeDigest;
use crate::model::problem::Problem;
use crate::model::rollout::Rollout;
use crate::model::snapshot::Node;

/// Fewer datasources than these are somebody's ordinary edit.
const AT_LEAST: usize = 3;
const WAY_OUT: &str = "it is held until it is whole again or `setkeeper rollout confirm` confirms it";

/// What a tree holds, as far as its loss would matter. Cheap to clone, and to compare with its successor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// How many config nodes hold something.
    pub config: usize,
    /// The names of the datasources' nodes; the branch's own node has the name "".
    #[serde(serialize_with = "write_names", deserialize_with = "read_names")]
    pub datasources: OrdSet<Arc<str>>,
}

/// Takes a tree, or says why it is held.
///
/// `accepted` is what the last tree that was taken held; `None` on an instance that never took one. Whoever takes the tree
/// keeps its inventory for the next call.
pub fn admit(
    accepted: Option<&Inventory>,
    now: &Inventory,
    tree: &TreeDigest,
    rollout: &Rollout,
    max_loss: f64,
) -> Result<(), Held> {
    let Some(accepted) = asked(accepted, tree, rollout) else { return Ok(()) };
    refuse_empty_config(accepted, now)?;
    let (lost, had) = loss(accepted, now);
    if lost >= AT_LEAST && (lost == had || share(lost, had) > max_loss) {
        let most = (max_loss * 100.0).round();
        return Err(Held::new(format!("the tree lost {lost} of its {had} datasources at once, more than {most}%; {WAY_OUT}")));
    }
    Ok(())
}

/// The same for a tree that comes after one that was held: it must be whole again, and not only a smaller loss, or restoring
/// it node by node would let go what is not back yet.
pub fn release(accepted: Option<&Inventory>, now: &Inventory, tree: &TreeDigest, rollout: &Rollout) -> Result<(), Held> {
    let Some(accepted) = asked(accepted, tree, rollout) else { return Ok(()) };
    refuse_empty_config(accepted, now)?;
    match loss(accepted, now) {
        (0, _) => Ok(()),
        (lost, had) => Err(Held::new(format!("the tree still lacks {lost} of its {had} datasources; {WAY_OUT}"))),
    }
}

/// What a tree is compared with; `None` where nothing is to be asked: there was none yet, or a person confirmed this one.
fn asked<'a>(accepted: Option<&'a Inventory>, tree: &TreeDigest, rollout: &Rollout) -> Option<&'a Inventory> {
    accepted.filter(|_| rollout.confirmed.as_deref() != Some(tree.as_str()))
}

fn refuse_empty_config(accepted: &Inventory, now: &Inventory) -> Result<(), Held> {
    if accepted.config == 0 || now.config > 0 {
        return Ok(());
    }
    let had = if accepted.config == 1 { "1 fragment".to_owned() } else { format!("{} fragments", accepted.config) };
    Err(Held::new(format!("the config tree is suddenly empty, it had {had}; {WAY_OUT}")))
}

/// How many datasources are gone, of how many.
fn loss(accepted: &Inventory, now: &Inventory) -> (usize, usize) {
    let lost = accepted.datasources.diff(&now.datasources).filter(|item| matches!(item, DiffItem::Remove(_))).count();
    (lost, accepted.datasources.len())
}

fn share(part: usize, whole: usize) -> f64 {
    // Counts of znodes are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let share = part as f64 / whole as f64;
    share
}

/// Reads the rollout record; one that cannot be read confirms nothing and is a problem.
#[must_use]
pub fn read_rollout(node: Option<&Node>) -> (Rollout, Vec<Problem>) {
    let Some(node) = node else { return (Rollout::default(), Vec::new()) };
    let mut notes = Notes::new(&node.origin);
    let rollout = match open(node, &mut notes).map(str::trim) {
        None | Some("") => Rollout::default(),
        Some(text) => serde_json::from_str(text).unwrap_or_else(|error| {
            let line = u64::try_from(error.line()).ok();
            notes.error(line, &Field::Root, "expected JSON {completed, confirmed, quarantine: [...]}");
            Rollout::default()
        }),
    };
    (rollout, notes.into_problems())
}

fn write_names<S: Serializer>(names: &OrdSet<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names)
}

fn read_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OrdSet<Arc<str>>, D::Error> {
    Vec::<Arc<str>>::deserialize(deserializer).map(OrdSet::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::Origin;

    fn inventory(config: usize, datasources: std::ops::Range<usize>) -> Inventory {
        Inventory { config, datasources: datasources.map(|number| Arc::from(format!("d{number}"))).collect() }
    }

    fn verdict(accepted: &Inventory, now: &Inventory, max_loss: f64) -> Result<(), String> {
        let tree = TreeDigest::new("t");
        admit(Some(accepted), now, &tree, &Rollout::default(), max_loss).map_err(|held| held.reason().to_owned())
    }

    #[test]
    fn law_2_a_suddenly_empty_config_is_held() {
        let held = verdict(&inventory(4, 0..0), &inventory(0, 0..0), 0.5).unwrap_err();
        assert!(held.starts_with("the config tree is suddenly empty, it had 4 fragments; it is held until"), "{held}");
        assert_eq!(verdict(&inventory(0, 0..0), &inventory(0, 0..0), 0.5), Ok(()));
        assert_eq!(verdict(&inventory(4, 0..0), &inventory(1, 0..0), 0.5), Ok(()));
    }

    #[test]
    fn law_2_many_datasources_lost_at_once_are_held() {
        for (before, after, max_loss, held) in [
            (0..10, 0..4, 0.5, true),
            (0..10, 0..5, 0.5, false),
            (0..10, 5..15, 0.5, false),
            (0..10, 6..16, 0.5, true),
            (0..4, 0..2, 0.1, false),
            (0..4, 0..1, 0.5, true),
            (0..2, 0..0, 0.5, false),
            (0..3, 0..0, 1.0, true),
            (0..3, 3..6, 1.0, true),
            (0..10, 0..1, 1.0, false),
            (0..0, 0..9, 0.0, false),
        ] {
            let found = verdict(&inventory(1, before.clone()), &inventory(1, after.clone()), max_loss);
            assert_eq!(found.is_err(), held, "{before:?} -> {after:?}, {max_loss}: {found:?}");
        }
        let held = verdict(&inventory(1, 0..10), &inventory(1, 0..4), 0.5).unwrap_err();
        assert!(held.starts_with("the tree lost 6 of its 10 datasources at once, more than 50%; "), "{held}");
    }

    #[test]
    fn law_2_a_tree_that_is_restored_node_by_node_is_held_until_it_is_whole() {
        let (full, tree) = (inventory(1, 0..6), TreeDigest::new("t"));
        let verdict = |now: &Inventory, confirmed: Option<&str>| {
            let rollout = Rollout { confirmed: confirmed.map(str::to_owned), ..Rollout::default() };
            release(Some(&full), now, &tree, &rollout).map_err(|held| held.reason().to_owned())
        };
        let held = verdict(&inventory(1, 0..5), None).unwrap_err();
        assert!(held.starts_with("the tree still lacks 1 of its 6 datasources; it is held until"), "{held}");
        assert!(verdict(&inventory(0, 0..6), None).unwrap_err().contains("suddenly empty"));
        assert_eq!(verdict(&inventory(1, 0..5), Some("t")), Ok(()));
        assert_eq!(verdict(&inventory(2, 0..7), None), Ok(()));
    }

    #[test]
    fn a_confirmed_tree_and_a_first_tree_are_taken() {
        let (tree, empty) = (TreeDigest::new("t"), Inventory::default());
        let rollout = Rollout { confirmed: Some("t".to_owned()), ..Rollout::default() };
        assert_eq!(admit(Some(&inventory(3, 0..9)), &empty, &tree, &rollout, 0.5), Ok(()));
        assert_eq!(admit(None, &empty, &tree, &Rollout::default(), 0.5), Ok(()));
        let other = TreeDigest::new("u");
        assert!(admit(Some(&inventory(3, 0..9)), &empty, &other, &rollout, 0.5).is_err());
    }

    #[test]
    fn an_inventory_survives_a_restart() {
        let inventory = inventory(2, 0..3);
        let text = serde_json::to_string(&inventory).unwrap();
        assert_eq!(text, r#"{"config":2,"datasources":["d0","d1","d2"]}"#);
        assert_eq!(serde_json::from_str::<Inventory>(&text).unwrap(), inventory);
    }

    #[test]
    fn a_broken_rollout_record_confirms_nothing_and_is_told() {
        let node = |text: &str| Node::new(Origin::new("/superset/rollout"), text, 1);
        let (rollout, problems) = read_rollout(Some(&node("{\"confirmed\": \"x\", \"later\": 1}")));
        assert_eq!((rollout.confirmed.as_deref(), problems.len()), (Some("x"), 0));
        assert_eq!(read_rollout(Some(&node(""))), (Rollout::default(), Vec::new()));
        let (rollout, problems) = read_rollout(Some(&node("{\n\"confirmed\": 3}")));
        assert_eq!(rollout, Rollout::default());
        assert_eq!(problems[0].to_string(), "/superset/rollout:2: expected JSON {completed, confirmed, quarantine: [...]}");
    }
}
