//! Officers of a test service, and what they sign.

use symbolon_proto::order::{Action, Officer, OfficerKey, Officers, SignedOrder};
use symbolon_proto::signing::SigningSeed;

use crate::rng::os_rng;
use crate::{Options, Service};

/// Three people of whom two must sign.
pub struct People(Vec<SigningSeed>);

impl People {
    pub fn new() -> Self {
        Self((0..3).map(|_| SigningSeed::random(&mut os_rng())).collect())
    }

    /// Puts them into a configuration.
    pub fn enter(&self, options: &mut Options) {
        let officer = |(name, seed): (&str, &SigningSeed)| Officer {
            name: name.to_owned(),
            key: OfficerKey::new(seed.public_key()),
        };
        let officers = ["ana", "boris", "carla"].into_iter().zip(&self.0).map(officer).collect();
        options.officers = Officers::new(officers).unwrap();
    }

    /// An order that these two have signed, in its text form.
    pub fn order(&self, service: &Service, action: Action, who: &[usize]) -> String {
        self.sign(&service.draft(action, 7).unwrap(), who)
    }

    /// Adds signatures to a text.
    pub fn sign(&self, text: &str, who: &[usize]) -> String {
        let mut signed = SignedOrder::from_text(text).unwrap();
        who.iter().for_each(|index| signed.sign(&self.0[*index]).unwrap());
        signed.to_text()
    }
}

/// Takes any order.
pub fn any(_: &Action) -> bool {
    true
}
