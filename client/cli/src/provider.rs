//! The cryptography under TLS.

/// aws-lc-rs for the whole process, unless somebody has already chosen another provider.
pub(crate) fn install() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing a race means that somebody else installed one, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}
