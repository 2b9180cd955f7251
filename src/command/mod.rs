//! The subcommands.

pub mod demo;
pub mod healthcheck;
pub mod inject;
