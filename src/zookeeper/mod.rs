//! The only room that knows ZooKeeper.
