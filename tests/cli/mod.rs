//! The real binary: its flags, its first words and its exit codes.

mod client_text;
mod combinations;
mod demo;
mod environment;
mod health;
mod healthcheck;
mod lists;
mod messages;
mod mistakes;
mod probes;
mod start;
