//! Secrets resolved where they are used, within the allow-lists.
