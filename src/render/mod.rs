//! What should be true to file texts and a revision; Python only through typed literals.
//!
//! In go the resolved config and the texts of base and templates, which the caller read; out come the files, whole, and the
//! revision that names what they say. Nothing is read or written here. [`renderer`] remembers what each setting was written
//! as, so that a change costs what changed and one pass over the finished text (law 12). [`python`] makes literals,
//! [`superset_config`] the file around them, [`template`] the other files.

pub mod python;
pub mod renderer;
pub mod superset_config;
pub mod template;
