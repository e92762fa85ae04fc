//! What operators of Vault ask of `sys/` and what is done another way here: a true answer instead of none.

use crate::dialect::vault::FaceError;

/// The way here, for a path whose way in Vault is another one.
pub(super) fn way(rest: &[&str]) -> Option<FaceError> {
    let text = match rest {
        ["rotate", "keyring"] => {
            "there is no keyring to rotate: new keys for everything that is stored are made by `symbolon operator rotate kek`, or PUT sys/rotate"
        }
        ["rotate", "config"] | ["rotate", "keyring", "config"] => {
            "keys are rotated when an operator says so, not by count or time: use `symbolon operator rotate kek`"
        }
        ["key-status"] => {
            "there is no keyring: how keys stand is said by `symbolon operator rotate status`, or GET sys/symbolon/rotation"
        }
        ["rekey" | "rekey-recovery-key", ..] | ["rotate", "root" | "recovery", ..] => {
            "shares are changed in a ceremony of their custodians: use `symbolon ceremony begin reshare`, or rekey if shares may be in wrong hands (docs/ceremonies.md)"
        }
        ["generate-root" | "generate-root-token", ..] | ["decode-token"] => {
            "a root token is made by custodians together, and one of them begins with a card: `symbolon operator root begin --key FILE` (docs/ceremonies.md); while there is a token, a policy with sudo on auth/token/create-orphan lets its holder make others"
        }
        ["audit-hash", ..] => {
            "what stands for a name in sinks that are told keyed hashes says PUT sys/symbolon/audit/hash (docs/audit-sinks.md)"
        }
        ["audit", ..] => {
            "the audit log is always on and has no devices: search it with `symbolon audit search`, or GET sys/symbolon/audit"
        }
        _ => return None,
    };
    Some(FaceError::Invalid(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_other_houses_learn_the_way_here() {
        for (path, way_here) in [
            ("rotate/keyring", "symbolon operator rotate kek"),
            ("rotate/keyring/config", "symbolon operator rotate kek"),
            ("key-status", "symbolon operator rotate status"),
            ("rekey/init", "symbolon ceremony begin reshare"),
            ("rotate/root/init", "symbolon ceremony begin reshare"),
            ("generate-root/attempt", "symbolon operator root begin"),
            ("generate-root/update", "symbolon operator root begin"),
            ("decode-token", "symbolon operator root begin"),
            ("audit/file", "symbolon audit search"),
        ] {
            let segments: Vec<&str> = path.split('/').collect();
            assert!(way(&segments).is_some_and(|text| text.to_string().contains(way_here)), "{path}");
        }
        for served in [&["rotate"][..], &["mounts", "audit"], &["nothing"]] {
            assert!(way(served).is_none());
        }
    }
}
