//! The catalogue of settings is what the installed Superset has.

use std::process::Command;

use crate::support::services::version;

#[test]
fn the_catalogue_is_what_the_installed_superset_has() {
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(format!("{root}/tests/services/catalogue")).arg(version()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read_anew = String::from_utf8(output.stdout).unwrap();
    let kept = include_str!("../../../src/catalogue/superset.txt");
    let differs = read_anew.lines().zip(kept.lines()).find(|(anew, kept)| anew != kept);
    assert!(read_anew == kept, "the catalogue is not what Superset {} has; first: {differs:?}", version());
}
