//! Snapshot to what should be true, or every problem found.
