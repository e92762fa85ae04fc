//! The service from outside: real sockets, real TLS, friendly and hostile peers.

#![allow(clippy::unwrap_used)]

mod by_hand;
mod client;
mod club;
mod crash;
mod enrol;
mod evaluate;
mod group;
mod hostile;
mod kill_switch;
mod migration;
mod operator;
mod orphans;
mod peers;
mod people;
mod receive_keys;
mod rotation;
mod thief;
