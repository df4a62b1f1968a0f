//! The one integration test binary: a test goes where its subject is named.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod admin;
mod architecture;
mod bodies;
mod budget;
mod cache;
mod config;
mod dashboard;
mod demo;
mod deploy;
mod egress;
mod emulator;
mod fleet;
mod gateway;
mod http;
mod ledger;
mod ops;
mod secrets;
mod support;
mod tls;
mod tokens;
mod topologies;
mod vendors;
