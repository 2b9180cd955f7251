//! HTTP/2 towards the clients.

mod floods;
mod late;
mod limits;
mod refusals;
mod requests;
