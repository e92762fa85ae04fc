//! The service from outside: real sockets, real TLS, friendly and hostile peers.

#![allow(clippy::unwrap_used)]

mod client;
mod enrol;
mod evaluate;
mod operator;
mod peers;
