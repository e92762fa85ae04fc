#![doc = include_str!("../README.md")]

pub mod audit;
#[cfg(feature = "servers")]
pub mod demo;
pub mod eso;
#[cfg(feature = "servers")]
pub mod load;
mod operator;

pub use self::operator::*;

/// aws-lc-rs for the whole process, unless somebody has already chosen another provider.
#[cfg(feature = "servers")]
fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing a race means that somebody else installed one, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}
