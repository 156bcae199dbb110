//! The pure difference between what is wanted and what is observed.
