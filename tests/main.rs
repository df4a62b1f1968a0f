//! The one integration test binary: a test goes where its subject is named.

mod architecture;
mod budget;
mod config;
mod emulator;
mod gateway;
mod http;
mod secrets;
mod support;
