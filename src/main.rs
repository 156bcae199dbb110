//! The `setkeeper` program.
fn main() {}
