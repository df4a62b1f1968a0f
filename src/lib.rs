//! weir: a rate-limiting, caching gateway for third-party APIs whose limits are
//! shared by a whole company. Start reading at `proxy/pipeline.rs`, which tells
//! the life of a request in order.

pub mod admin;
pub mod app;
pub mod budget;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consumer;
pub mod demo;
pub mod dialect;
pub mod emulator;
pub mod id;
pub mod pattern;
pub mod pem;
pub mod proxy;
pub mod quota;
pub mod redis;

pub mod secret;
pub mod target;
pub mod telemetry;
pub mod token;
pub mod upstream;
