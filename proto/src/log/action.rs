//! What a request asked for and how it ended, as the numbers that stand in the log forever.

use core::fmt;

macro_rules! numbered {
    ($(#[$enum_doc:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal $text:literal)* }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$doc])* $variant = $number,)*
        }

        impl $name {
            /// Every value, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The number on the wire.
            #[must_use]
            pub const fn as_u8(self) -> u8 {
                self as u8
            }

            /// The value of a number read from the wire; `None` for one that this version does not know.
            #[must_use]
            pub const fn from_u8(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its name in review pages, filters and JSON: words joined by dashes.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The value of a name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.as_str())
            }
        }
    };
}

numbered! {
    /// What a request asked for. The number is the wire value and never changes its meaning.
    Action {
        /// Deployment initialised.
        Init = 1 "init"
        /// Share submitted, or the broker unsealed.
        Unseal = 2 "unseal"
        /// Broker sealed.
        Seal = 3 "seal"
        /// Evidence exchanged for a token.
        Login = 4 "login"
        /// Token made from a token.
        TokenCreate = 5 "token-create"
        /// Token lifetime extended.
        TokenRenew = 6 "token-renew"
        /// Token ended early.
        TokenRevoke = 7 "token-revoke"
        /// Token looked up.
        TokenLookup = 8 "token-lookup"
        /// Secret value read.
        SecretRead = 9 "secret-read"
        /// Secret version written.
        SecretWrite = 10 "secret-write"
        /// Secret versions marked as deleted.
        SecretDelete = 11 "secret-delete"
        /// Deletion mark removed.
        SecretUndelete = 12 "secret-undelete"
        /// Secret versions destroyed for good.
        SecretDestroy = 13 "secret-destroy"
        /// Secret metadata read.
        MetadataRead = 14 "metadata-read"
        /// Secret metadata written.
        MetadataWrite = 15 "metadata-write"
        /// Secret removed with its metadata and all versions.
        MetadataDelete = 16 "metadata-delete"
        /// Names listed.
        List = 17 "list"
        /// Policy read.
        PolicyRead = 18 "policy-read"
        /// Policy written.
        PolicyWrite = 19 "policy-write"
        /// Policy deleted.
        PolicyDelete = 20 "policy-delete"
        /// Secret engine mount read.
        MountRead = 21 "mount-read"
        /// Secret engine mount made or tuned.
        MountWrite = 22 "mount-write"
        /// Secret engine mount removed.
        MountDelete = 23 "mount-delete"
        /// Login method, its configuration or a role read.
        AuthRead = 24 "auth-read"
        /// Login method, its configuration or a role written.
        AuthWrite = 25 "auth-write"
        /// Login method or a role removed.
        AuthDelete = 26 "auth-delete"
        /// Token for another service issued to a workload.
        WorkloadToken = 27 "workload-token"
        /// Key rotated.
        KeyRotate = 28 "key-rotate"
        /// Audit log read.
        AuditRead = 29 "audit-read"
        /// Fragment service enrolled, changed or asked.
        Remote = 30 "remote"
        /// Capabilities of a token on a path asked for.
        Capabilities = 31 "capabilities"
        /// Anything else that is worth an entry.
        Other = 32 "other"
        /// Custodians' ceremony begun, ended, cancelled or signed.
        Ceremony = 33 "ceremony"
        /// Backup made or given out.
        Backup = 34 "backup"
        /// Not authorised. What was asked for stands in the sealed detail, so that heads tell nobody what a
        /// broker serves.
        Refused = 35 "refused"
        /// Entries of the log counted, exported or pruned, with the range in the detail.
        Retention = 36 "retention"
    }
}

numbered! {
    /// How a request ended. The number is the wire value and never changes its meaning.
    Outcome {
        /// Allowed and done.
        Allowed = 1 "allowed"
        /// Refused by policy or evidence.
        Denied = 2 "denied"
        /// Allowed, but could not be done.
        Failed = 3 "failed"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_come_back() {
        for &action in Action::ALL {
            assert_eq!(Action::from_u8(action.as_u8()), Some(action));
            assert_eq!(Action::from_name(action.as_str()), Some(action));
        }
        for &outcome in Outcome::ALL {
            assert_eq!(Outcome::from_u8(outcome.as_u8()), Some(outcome));
            assert_eq!(Outcome::from_name(outcome.as_str()), Some(outcome));
        }
        assert_eq!((Action::ALL.len(), Outcome::ALL.len()), (36, 3));
    }

    #[test]
    fn numbers_of_released_logs_stay() {
        assert_eq!(Action::Init.as_u8(), 1);
        assert_eq!(Action::SecretRead.as_u8(), 9);
        assert_eq!(Action::AuthDelete.as_u8(), 26);
        assert_eq!(Action::Other.as_u8(), 32);
        assert_eq!((Action::Ceremony.as_u8(), Action::Backup.as_u8(), Action::Refused.as_u8()), (33, 34, 35));
        assert_eq!(Action::Retention.as_u8(), 36);
        assert_eq!(Action::from_u8(0).or(Action::from_u8(37)), None);
        assert_eq!(Outcome::from_u8(0).or(Outcome::from_u8(4)), None);
        assert_eq!(Action::from_name("Init"), None);
    }
}
