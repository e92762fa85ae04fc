//! SKB1 from the outside: what a broker and a fragment service can do with the public interface, and what an
//! attacker between them cannot (`docs/skb1.md` section 15).

#![allow(clippy::unwrap_used)]

#[cfg(feature = "gauge")]
mod depth;
#[cfg(feature = "gauge")]
mod group;
mod hedge;
mod histories;
mod malicious;
mod splice;
mod threshold;
mod total;
mod world;
