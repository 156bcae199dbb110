//! The only room that knows Superset.
