//! Where requests are taken, and what is spoken there before HTTP.

mod inherited;
mod unix;
