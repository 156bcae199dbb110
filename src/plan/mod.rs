//! The pure difference between what is wanted and what is observed.

pub mod connect_timeout;
pub mod drift;
pub mod request;
mod same_uri;
