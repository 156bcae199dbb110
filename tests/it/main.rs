//! Hermetic tests: no network, no service; only what a build machine has (`python3` among it).

mod literals;
