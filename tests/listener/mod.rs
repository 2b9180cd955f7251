//! Where requests are taken, and what is spoken there before HTTP.

mod inherited;
mod proxy_protocol;
mod reload;
mod tls;
mod unix;
