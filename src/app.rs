//! Where parts are built from the configuration and joined.

pub mod listener;
