//! What a TPM says, what is kept of it, and policies that somebody signed.

use symbolon_core::tpm::objects::{self, Point};
use symbolon_core::tpm::policy::SignedPolicy;
use symbolon_core::tpm::{PcrValues, TpmBinding, answers};

/// Every reader of these bytes. A binding is written as it was read; no guessed policy is a signed one.
pub fn tpm(data: &[u8]) {
    for gives_handle in [false, true] {
        if let Ok(answers::Said::Done(done)) = answers::parse(data, gives_handle) {
            let _ = (answers::auth(done.auths), answers::first(done.params), answers::created(done.params));
            let _ = PcrValues::default().add_read(done.params);
        }
    }
    let _ = (objects::storage_point(data), PcrValues::default().add_read(data));
    if let Ok(binding) = TpmBinding::decode(data) {
        assert_eq!(binding.encode(), data);
    }
    if let Some(policy) = core::str::from_utf8(data).ok().and_then(|text| SignedPolicy::parse(text).ok()) {
        assert!(!policy.is_signed_by(&Point { x: [1; 32], y: [2; 32] }, &[3; 32]), "no point of the curve");
    }
}

/// A binding of three PCRs.
#[must_use]
pub fn seed_binding() -> TpmBinding {
    let pcrs = PcrValues::new(&[(0, [1; 32]), (7, [2; 32]), (23, [3; 32])]).expect("three PCRs");
    let signer = Some(Point { x: [4; 32], y: [5; 32] });
    TpmBinding { storage: [6; 34], signer, pcrs, private: vec![7; 190], public: vec![8; 80] }
}
