//! What a Tang server says, and what is kept of it.

use std::sync::LazyLock;

use getrandom::SysRng;
use rand_core::UnwrapErr;
use symbolon_core::tang::{Advertisement, Jwe, Question, Thumbprint, seal};
use symbolon_proto::secret::Secret;

/// An advertisement by `tangd`.
pub const ADVERTISED: &str = include_str!("../../broker/core/src/tang/testdata/adv.json");
/// One of a server whose keys were rotated.
pub const ROTATED: &str = include_str!("../../broker/core/src/tang/testdata/rotated.json");
/// What `clevis` sealed to that server.
pub const CLEVIS: &str = include_str!("../../broker/core/src/tang/testdata/clevis.jwe");
/// An answer to a question.
pub const POINT: &str = include_str!("../../broker/core/src/tang/testdata/point.json");

static PINNED: LazyLock<Thumbprint> = LazyLock::new(|| {
    include_str!("../../broker/core/src/tang/testdata/signing.s256").parse().expect("a thumbprint")
});

/// A sealed key, and a question about it. The question is one of this process: an answer opens nothing.
static ASKED: LazyLock<(Jwe, Question)> = LazyLock::new(|| {
    let jwe = Jwe::parse(CLEVIS).expect("clevis wrote it");
    let question = jwe.ask(&mut UnwrapErr(SysRng)).expect("some e of all");
    (jwe, question)
});

/// An advertisement, a sealed key and an answer. Only what the pinned key signed is believed; what is then
/// sealed can be read again; no guessed answer opens anything.
pub fn tang(data: &[u8]) {
    if let Ok(set) = Advertisement::verify(data, &PINNED) {
        let (key, url) = (Secret::filled_by(|out| out.fill(1)), "http://tang.example");
        if let Ok(text) = seal(&set, url, b"fuzz", &key, &mut UnwrapErr(SysRng)) {
            let jwe = Jwe::parse(&text).expect("what we write can be read");
            assert!(jwe.is_for(b"fuzz") && jwe.url() == url && set.offers(jwe.kid()));
        }
    }
    let text = core::str::from_utf8(data).ok();
    if let Some(jwe) = text.and_then(|text| Jwe::parse(text).ok()) {
        let _ = (jwe.kid(), jwe.url(), jwe.ask(&mut UnwrapErr(SysRng)));
    }
    let (jwe, question) = &*ASKED;
    assert!(jwe.open(question, data).is_err());
}
