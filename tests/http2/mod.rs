//! HTTP/2 towards the clients.

mod floods;
mod limits;
mod refusals;
mod requests;
