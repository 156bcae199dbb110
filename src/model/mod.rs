//! The vocabulary of Setkeeper: what the other rooms talk about.
//!
//! Plain values with their laws in their types, no I/O and no clocks. Everything else may import this room;
//! it imports nothing of the project.

pub mod connection;
pub mod datasource;
pub mod digest;
pub mod instance;
pub mod lock;
pub mod moment;
pub mod once;
pub mod pattern;
pub mod pause;
pub mod problem;
pub mod protected;
pub mod release;
pub mod rollout;
pub mod secret;
pub mod slot;
pub mod snapshot;
pub mod status;
pub mod uri;
pub mod value;
