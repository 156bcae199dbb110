//! The pure difference between what is wanted and what is observed.
//!
//! Two plans, because two loops act on them: [`files`] for this machine and [`connections`] for Superset's connections. Each is
//! complete (law 3): no choice is left to whoever applies it, and after it is applied there is none.

pub mod connect_timeout;
pub mod connections;
pub mod drift;
pub mod files;
pub mod request;
mod same_uri;
