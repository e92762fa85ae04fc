//! Capabilities, sets of them, and the operations that need them.

/// One right on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Capability {
    /// Make something that is not there.
    Create = 1,
    /// Read.
    Read = 1 << 1,
    /// Change something that is there, or call a route without an existence check.
    Update = 1 << 2,
    /// Delete.
    Delete = 1 << 3,
    /// List names.
    List = 1 << 4,
    /// Change parts.
    Patch = 1 << 5,
    /// Needed in addition on protected routes.
    Sudo = 1 << 6,
    /// Nothing at all, whatever other blocks with this pattern say.
    Deny = 1 << 7,
}

/// All capabilities in the order in which Vault shows them.
const ALL: [(Capability, &str); 8] = [
    (Capability::Create, "create"),
    (Capability::Delete, "delete"),
    (Capability::Deny, "deny"),
    (Capability::List, "list"),
    (Capability::Patch, "patch"),
    (Capability::Read, "read"),
    (Capability::Sudo, "sudo"),
    (Capability::Update, "update"),
];

impl Capability {
    /// The word in a policy.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(capability, _)| *capability == self).map_or("", |(_, name)| name)
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, known)| *known == name).map(|(capability, _)| *capability)
    }
}

/// A set of capabilities, or everything for root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    bits: u8,
    root: bool,
}

impl Capabilities {
    /// The empty set: no block matches.
    pub const NONE: Self = Self { bits: 0, root: false };
    /// What root has.
    pub const ROOT: Self = Self { bits: !(Capability::Deny as u8), root: true };
    pub(super) const DENY: Self = Self { bits: Capability::Deny as u8, root: false };

    /// Whether `capability` is in the set.
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        self.bits & capability as u8 != 0
    }

    /// Whether the caller is root.
    #[must_use]
    pub fn is_root(self) -> bool {
        self.root
    }

    /// Whether an explicit `deny` stands in the set. It is then alone.
    #[must_use]
    pub fn denies(self) -> bool {
        self.has(Capability::Deny)
    }

    /// Whether nothing is allowed.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.bits == 0 || self.denies()
    }

    /// As `sys/capabilities` answers: sorted words; `["root"]` for root; `["deny"]` for nothing.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        if self.root {
            return vec!["root"];
        }
        if self.is_empty() {
            return vec!["deny"];
        }
        ALL.iter().filter(|(capability, _)| self.has(*capability)).map(|(_, name)| *name).collect()
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits, root: self.root || other.root }
    }

    /// Adds one; `deny` clears the rest and stays.
    pub(super) fn with(self, capability: Capability) -> Self {
        if self.denies() || capability == Capability::Deny {
            return Self::DENY;
        }
        Self { bits: self.bits | capability as u8, ..self }
    }
}

/// What a request wants to do. Create and update are told apart by whether the target exists, not by the
/// method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// POST or PUT on something that is not there.
    Create,
    /// GET.
    Read,
    /// POST or PUT on something that is there, or on a route without existence check.
    Update,
    /// DELETE.
    Delete,
    /// LIST, or GET with `?list=true`.
    List,
    /// PATCH.
    Patch,
}

impl Operation {
    /// The capability that the operation needs.
    #[must_use]
    pub fn capability(self) -> Capability {
        match self {
            Self::Create => Capability::Create,
            Self::Read => Capability::Read,
            Self::Update => Capability::Update,
            Self::Delete => Capability::Delete,
            Self::List => Capability::List,
            Self::Patch => Capability::Patch,
        }
    }

    /// Whether parameter rules apply to it.
    pub(super) fn has_parameters(self) -> bool {
        matches!(self, Self::Create | Self::Read | Self::Update | Self::Patch)
    }
}
