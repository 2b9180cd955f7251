//! The real binary: its flags, its first words and its exit codes.

mod demo;
mod environment;
mod health;
mod healthcheck;
mod mistakes;
mod start;
