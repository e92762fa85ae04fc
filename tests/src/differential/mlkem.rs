//! ML-KEM-768: the crate inside X-Wing against AWS-LC, in both directions and with keys of either.

#![allow(deprecated, reason = "AWS-LC takes private keys in their expanded form only")]

use aws_lc_rs::kem::{self, ML_KEM_768};
use getrandom::SysRng;
use ml_kem::kem::{Decapsulate, Encapsulate, KeyExport};
use ml_kem::{DecapsulationKey, EncapsulationKey, ExpandedKeyEncoding, MlKem768, Seed};
use rand_core::{Rng, UnwrapErr};

type Ours = DecapsulationKey<MlKem768>;

fn from_random_seed() -> Ours {
    let mut seed = Seed::default();
    UnwrapErr(SysRng).fill_bytes(&mut seed);
    Ours::from_seed(seed)
}

/// The same key in both, made from its expanded form.
fn theirs(ours: &Ours) -> kem::DecapsulationKey {
    kem::DecapsulationKey::new(&ML_KEM_768, &ours.to_expanded_bytes()).unwrap()
}

/// They encapsulate to our public key and we decapsulate.
fn they_close_and_we_open(ours: &Ours) {
    let public = kem::EncapsulationKey::new(&ML_KEM_768, &ours.encapsulation_key().to_bytes()).unwrap();
    let (ciphertext, shared) = public.encapsulate().unwrap();
    let found = ours.decapsulate_slice(ciphertext.as_ref()).unwrap();
    assert_eq!(found.as_slice(), shared.as_ref());
}

/// We encapsulate, to the public key as its own bytes, and they decapsulate.
fn we_close_and_they_open(ours: &Ours, theirs: &kem::DecapsulationKey) {
    let public = EncapsulationKey::<MlKem768>::new(&ours.encapsulation_key().to_bytes()).unwrap();
    let (ciphertext, shared) = public.encapsulate_with_rng(&mut UnwrapErr(SysRng));
    let found = theirs.decapsulate(ciphertext.as_slice().into()).unwrap();
    assert_eq!(found.as_ref(), shared.as_slice());
}

/// A spoilt ciphertext is not refused but gives another secret, drawn from the private key: both the same
/// one.
fn both_reject_alike(ours: &Ours, theirs: &kem::DecapsulationKey) {
    let (mut ciphertext, shared) = ours.encapsulation_key().encapsulate_with_rng(&mut UnwrapErr(SysRng));
    ciphertext[500] ^= 1;
    let (we, they) =
        (ours.decapsulate(&ciphertext), theirs.decapsulate(ciphertext.as_slice().into()).unwrap());
    assert_eq!(we.as_slice(), they.as_ref());
    assert_ne!(we, shared);
}

#[test]
fn our_keys_work_in_aws_lc() {
    for _ in 0..16 {
        let ours = from_random_seed();
        let theirs = theirs(&ours);
        they_close_and_we_open(&ours);
        we_close_and_they_open(&ours, &theirs);
        both_reject_alike(&ours, &theirs);
    }
}

#[test]
fn keys_of_aws_lc_work_here() {
    for _ in 0..16 {
        let theirs = kem::DecapsulationKey::generate(&ML_KEM_768).unwrap();
        let expanded = theirs.key_bytes().unwrap();
        let ours = Ours::from_expanded_bytes(expanded.as_ref().try_into().unwrap()).unwrap();
        let public = theirs.encapsulation_key().unwrap();
        assert_eq!(public.key_bytes().unwrap().as_ref(), ours.encapsulation_key().to_bytes().as_slice());
        they_close_and_we_open(&ours);
        we_close_and_they_open(&ours, &theirs);
        both_reject_alike(&ours, &theirs);
    }
}
