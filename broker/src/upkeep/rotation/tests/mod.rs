//! Rotations that are killed, raced and left by the remote: every secret stays readable, and the end is
//! always reached.
#![allow(clippy::unwrap_used)]

mod cubbyhole;
mod fragment;
mod kill;
mod measure;
mod quota;
mod races;
mod refusals;
mod remote;
mod tables;
mod tier;
mod world;
mod wrapped;
