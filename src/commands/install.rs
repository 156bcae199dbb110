//! `install`: copies this program to a path.
//!
//! An image that holds this program alone has no `cp`, so the program brings itself to where another container of the pod runs it. It
//! reads no settings. The copy takes its place by rename: who runs the earlier one goes on, and nobody starts half of one.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::output;

/// Copies the program.
pub(super) fn run(path: &Path) -> anyhow::Result<ExitCode> {
    copy(path).with_context(|| format!("failed to install setkeeper at {}", path.display()))?;
    output::say(&format!("installed setkeeper {} at {}", env!("CARGO_PKG_VERSION"), path.display()));
    Ok(ExitCode::SUCCESS)
}

fn copy(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    io::copy(&mut File::open("/proc/self/exe")?, &mut draft)?;
    draft.as_file().set_permissions(Permissions::from_mode(0o755))?;
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    Ok(())
}
