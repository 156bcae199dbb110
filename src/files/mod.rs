//! Compare, stage, fsync, replace; last good copies.
