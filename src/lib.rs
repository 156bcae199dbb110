//! Setkeeper keeps Apache Superset in line with what ZooKeeper says.

pub mod agent;
pub mod cli;
pub mod commands;
pub mod desired;
pub mod directory;
pub mod files;
pub mod http;
pub mod live;
pub mod metrics;
pub mod model;
pub mod output;
pub mod plan;
pub mod reconcile;
pub mod render;
pub mod secrets;
pub mod settings;
pub mod superset;
pub mod world;
pub mod zookeeper;
