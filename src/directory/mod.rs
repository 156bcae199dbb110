//! The same tree from a folder on one machine.
