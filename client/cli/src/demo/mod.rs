//! The whole story on real sockets, told and checked step by step; and the world that it happens in.
//!
//! Everything is loopback, TLS and a temporary directory. Nothing is mocked: the fragment service and the
//! broker are the ones that `symbolon fragment` and `symbolon broker` run, ESO's requests are those of
//! HashiCorp's Go client.

pub mod acts;
pub mod cluster;
pub mod eso;
pub mod estate;
pub mod homelab;
pub mod memory;
pub mod meter;
pub mod narrator;
pub mod pki;
pub mod property;
pub mod story;
pub mod world;
