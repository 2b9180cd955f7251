//! The subcommands.

pub mod demo;
pub mod healthcheck;
