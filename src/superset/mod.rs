//! The only room that knows Superset: its REST API and its process.
//!
//! [`client`] carries a call there and back (login, CSRF, deadlines, repeats), [`databases`] and [`health`] are the calls,
//! [`error`] is what can come of them, [`scrub`] takes secrets out of what Superset says. [`preflight`] probes a database's port
//! before Superset is asked to connect to it. [`reload`] makes Superset load a new config, by way of [`gunicorn`], [`handoff`] or a
//! [`command`]; [`verify`] proves that it did. What should be there is decided in `plan`; nothing here chooses.

mod answer;
pub mod client;
pub mod command;
pub mod databases;
pub mod error;
pub mod gunicorn;
pub mod handoff;
pub mod health;
pub mod preflight;
pub mod reload;
pub mod scrub;
mod session;
pub mod verify;
