//! Our mathematics against code that shares nothing with it (`docs/skb1.md` section 15.12). What both can do,
//! both do, on random inputs, and the bytes are the same.
//!
//! | Ours | Independent |
//! |---|---|
//! | ristretto255 (curve25519-dalek) | gtank/ristretto255, by the Go program `tests/go/oracle` |
//! | capsules: HKDF, AES-256-GCM, layout | Go's standard library, by the same program |
//! | HPKE with X-Wing (`hpke`, `x-wing`): all that custodians and escrow seal | that library, that program |
//! | ML-KEM-768 (`ml-kem`, inside X-Wing) | AWS-LC |
//! | GF(2^8) sharing | `vsss-rs`, in `proto/src/share/shamir_tests.rs` |
//!
//! Not `frost-ristretto255`: its curve is an older release of ours. Not `pyoprf`: it needs a C library that
//! pip does not bring.

mod curve;
mod hpke;
mod mlkem;
mod oracle;
