//! A PKCS#11 token: an HSM that opens what is kept, inside, for whoever has its PIN (`docs/pkcs11.md`).
//!
//! The vendor's library runs in this process. It is built in with the feature `pkcs11` only.
//!
//! ```text
//! settings.rs  what is configured
//! device.rs    the source: its calls, with a deadline
//! modules.rs   libraries, each loaded and begun once
//! tokens.rs    the one token that is meant, and a login
//! pins.rs      a PIN from its file, and which were refused
//! keys.rs      the one key that is meant, and whether it stays inside
//! ciphers.rs   what the key does
//! error.rs     what codes of a library mean, and who must act
//! ```

use super::{Kind, Parsed};
use crate::config::Raw;

#[cfg(feature = "pkcs11")]
mod ciphers;
#[cfg(feature = "pkcs11")]
mod device;
#[cfg(feature = "pkcs11")]
mod error;
#[cfg(feature = "pkcs11")]
mod keys;
#[cfg(feature = "pkcs11")]
mod modules;
#[cfg(feature = "pkcs11")]
mod pins;
#[cfg(feature = "pkcs11")]
mod settings;
#[cfg(all(test, feature = "pkcs11"))]
mod tests;
#[cfg(feature = "pkcs11")]
mod tokens;

/// The descriptor.
pub static KIND: Kind = Kind { name: "pkcs11", parse: |raw| parse(BUILT_IN, raw) };

/// What reads settings, in a build that has it.
type BuiltIn = Option<fn(&Raw) -> Parsed>;

#[cfg(feature = "pkcs11")]
const BUILT_IN: BuiltIn = Some(device::parse);
#[cfg(not(feature = "pkcs11"))]
const BUILT_IN: BuiltIn = None;

fn parse(built_in: BuiltIn, raw: &Raw) -> Parsed {
    let refused =
        "this program was built without PKCS#11; build it with `cargo build --release --features pkcs11`";
    built_in.ok_or_else(|| refused.to_owned())?(raw)
}

#[cfg(test)]
mod without {
    use super::*;

    #[test]
    fn a_build_without_pkcs11_says_how_to_build_it_in() {
        let refused = parse(None, &Raw::from(toml::Table::new())).err();
        assert!(refused.is_some_and(|why| why.contains("--features pkcs11")));
    }
}
