//! Live tests: real services, with faults.
