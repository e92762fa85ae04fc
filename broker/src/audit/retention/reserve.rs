//! What is still entered when the log has used up its disk budget: whatever frees space or protects, because
//! the way out must not need an entry that nobody gets. The one list of it is `Claim::of`.
//!
//! ```text
//! bytes of the log:  0 -------- budget ---- half ---- all of the reserve
//! everything         ###########
//! strangers          ######################              logins, what was refused
//! holders of tokens  ###################################  revocations, backups
//! way out            ################################################# ...
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};

use symbolon_core::audit::{Action, Draft, Outcome};

/// What is left of the reserve beyond the budget, in entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Left.
    pub left: u64,
    /// In all of it.
    pub of: u64,
}

/// How much of the reserve an action may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// Nothing.
    Nothing,
    /// Half: what somebody without a token can cause, and in numbers.
    Half,
    /// All: what needs a token, or what the broker does by itself now and then.
    All,
    /// Without a limit: the last way out, which custodians or holders of `sudo` go, and nobody often.
    Always,
}

impl Claim {
    /// The list. A new action has to decide.
    const fn of(action: Action) -> Self {
        match action {
            Action::Seal | Action::Unseal | Action::Ceremony | Action::Retention => Self::Always,
            Action::TokenRevoke | Action::AuthDelete | Action::Backup | Action::Remote => Self::All,
            Action::Login | Action::Refused => Self::Half,
            Action::Init
            | Action::TokenCreate
            | Action::TokenRenew
            | Action::TokenLookup
            | Action::SecretRead
            | Action::SecretWrite
            | Action::SecretDelete
            | Action::SecretUndelete
            | Action::SecretDestroy
            | Action::MetadataRead
            | Action::MetadataWrite
            | Action::MetadataDelete
            | Action::List
            | Action::PolicyRead
            | Action::PolicyWrite
            | Action::PolicyDelete
            | Action::MountRead
            | Action::MountWrite
            | Action::MountDelete
            | Action::AuthRead
            | Action::AuthWrite
            | Action::WorkloadToken
            | Action::KeyRotate
            | Action::AuditRead
            | Action::Capabilities
            | Action::Other => Self::Nothing,
        }
    }

    /// Of an entry: whoever was refused gets no more than a stranger does.
    fn of_entry(draft: &Draft) -> Self {
        let claim = Self::of(draft.action);
        if draft.outcome == Outcome::Denied { claim.min(Self::Half) } else { claim }
    }

    const fn allows(self, reserve: Reserve) -> bool {
        match self {
            Self::Nothing => false,
            Self::Half => reserve.left > reserve.of / 2,
            Self::All => reserve.left > 0,
            Self::Always => true,
        }
    }
}

/// Room for entries: without an end, or a reserve.
#[derive(Debug, Default)]
pub(in crate::audit) struct Room(Mutex<Option<Reserve>>);

impl Room {
    /// The budget is used up and so much of the reserve is left; `None` while it is not.
    pub(in crate::audit) fn set(&self, reserve: Option<Reserve>) {
        *self.locked() = reserve;
    }

    /// Takes the room of an entry, if there is some.
    pub(in crate::audit) fn take(&self, draft: &Draft) -> bool {
        let mut reserve = self.locked();
        let Some(reserve) = reserve.as_mut() else { return true };
        let is_allowed = Claim::of_entry(draft).allows(*reserve);
        reserve.left = reserve.left.saturating_sub(is_allowed.into());
        is_allowed
    }

    /// Whether an entry of this action would have room now.
    pub(in crate::audit) fn has(&self, action: Action) -> bool {
        self.locked().is_none_or(|reserve| Claim::of(action).allows(reserve))
    }

    fn locked(&self) -> MutexGuard<'_, Option<Reserve>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn entered(room: &Room, action: Action, outcome: Outcome) -> usize {
        let draft = || Draft { outcome, ..Draft::by_broker(action, "x") };
        (0..100).take_while(|_| room.take(&draft())).count()
    }

    #[test]
    fn strangers_leave_half_of_the_reserve_and_nobody_closes_the_way_out() {
        let room = Room::default();
        assert_eq!(entered(&room, Action::SecretRead, Outcome::Allowed), 100, "there is no end");
        room.set(Some(Reserve { left: 20, of: 20 }));
        assert_eq!(entered(&room, Action::SecretRead, Outcome::Allowed), 0);
        assert!(!room.has(Action::SecretRead) && room.has(Action::Login));
        assert_eq!(entered(&room, Action::Seal, Outcome::Denied), 10, "refused, so by anybody");
        assert_eq!(entered(&room, Action::Login, Outcome::Allowed), 0);
        assert_eq!(entered(&room, Action::TokenRevoke, Outcome::Allowed), 10);
        assert_eq!(entered(&room, Action::Backup, Outcome::Allowed), 0);
        for action in [Action::Seal, Action::Unseal, Action::Ceremony, Action::Retention] {
            assert_eq!(entered(&room, action, Outcome::Allowed), 100, "{action}");
        }
        room.set(None);
        assert_eq!(entered(&room, Action::SecretRead, Outcome::Allowed), 100);
    }
}
