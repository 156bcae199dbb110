//! The Python programs of a check, carried inside ours, so that no installation can miss or mix them.

/// File names and texts, as they are laid into a scratch folder.
pub(super) const ALL: [(&str, &str); 5] = [
    ("setkeeper_prelude.py", include_str!("programs/prelude.py")),
    (IDENTIFY, include_str!("programs/identify.py")),
    (TEMPLATE, include_str!("programs/template.py")),
    (SHIM, include_str!("programs/shim.py")),
    (PROBE, include_str!("programs/probe.py")),
];

/// Says which Superset a Python has.
pub(super) const IDENTIFY: &str = "setkeeper_identify.py";
/// Makes the migrated database.
pub(super) const TEMPLATE: &str = "setkeeper_template.py";
/// Tries a candidate.
pub(super) const PROBE: &str = "setkeeper_probe.py";
const SHIM: &str = "setkeeper_shim.py";
/// The module that stands in for Superset's config.
pub(super) const SHIM_MODULE: &str = "setkeeper_shim";
