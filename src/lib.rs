//! Setkeeper keeps Apache Superset in line with what ZooKeeper says.

pub mod cli;
pub mod commands;
pub mod desired;
pub mod directory;
pub mod files;
pub mod http;
pub mod metrics;
pub mod model;
pub mod output;
pub mod plan;
pub mod render;
pub mod secrets;
pub mod settings;
pub mod superset;
pub mod zookeeper;
