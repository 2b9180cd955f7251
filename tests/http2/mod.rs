//! HTTP/2 towards the clients.

mod errors;
mod floods;
mod late;
mod limits;
mod names;
mod refusals;
mod requests;
mod room;
