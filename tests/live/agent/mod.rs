//! The agent as people run it, as a process, between a real ZooKeeper and a real Superset.

mod main_job;
