//! The weights and the challenge of RFC 9497 section 2.2, for its vectors only.

use super::*;

fn tag(prefix: &[u8], context: &[u8]) -> Vec<u8> {
    [prefix, context].concat()
}

fn lp(field: &[u8]) -> Vec<u8> {
    [&lp_len(field)[..], field].concat()
}

pub(super) fn weights(context: &[u8], y: &PublicKey, us: &[Point], vs: &[Point]) -> Vec<CurveScalar> {
    let seed = Sha512::digest([lp(y.as_bytes()), lp(&tag(b"Seed-", context))].concat());
    let weight = |(j, (u, v)): (usize, (&Point, &Point))| {
        let j = u16::try_from(j).expect("a batch has at most 64 points").to_be_bytes();
        let parts: [&[u8]; 5] = [&lp(&seed), &j, &lp(u.as_bytes()), &lp(v.as_bytes()), label::COMPOSITE];
        hash_to_scalar_tagged(&parts, &tag(b"HashToScalar-", context))
    };
    us.iter().zip(vs).enumerate().map(weight).collect()
}

pub(super) fn challenge(context: &[u8], points: &[&[u8]; 10]) -> CurveScalar {
    let mut parts = points.to_vec();
    parts.push(label::CHALLENGE);
    hash_to_scalar_tagged(&parts, &tag(b"HashToScalar-", context))
}
