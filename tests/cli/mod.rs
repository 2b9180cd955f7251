//! The real binary: its flags, its first words and its exit codes.

mod client_text;
mod demo;
mod environment;
mod health;
mod healthcheck;
mod lists;
mod mistakes;
mod start;
