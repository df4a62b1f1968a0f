//! For those who run it: reload, restart, usage, metrics, the API, the command line.

mod api;
mod metrics;
mod moves;
mod reload;
mod restart;
mod traces;
mod usage;
