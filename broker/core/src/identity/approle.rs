//! Login with a role id and a secret id, by the rules of Vault's `approle` method.
//!
//! A secret id is kept as a keyed hash only, with an accessor beside it. Whatever does not fit, the answer is
//! one and the same. A counted secret id is spent with the login: commit [`SecretIdUse`] under the row's
//! revision before the token leaves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use data_encoding::HEXLOWER;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use symbolon_proto::secret::Secret;
use symbolon_proto::{Zeroizing, label};

use super::evidence::Evidence;
use super::verified::{Found, OutOfBounds, VerifiedIdentity};
use crate::audit::Actor;
use crate::path::RoleName;
use crate::token::{CidrList, META_BYTES_MAX, META_ENTRIES_MAX, ParamsError, TokenParams};

/// The answer to every refused login: 400.
pub const REFUSED: &str = "invalid role or secret ID";
/// Longest role id or custom secret id in bytes.
pub const ID_BYTES_MAX: usize = 512;

/// One application. Wire type; durations in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppRole {
    /// Folded name.
    pub name: RoleName,
    /// What the application says it is; not secret.
    pub role_id: String,
    /// Whether a secret id is needed.
    pub bind_secret_id: bool,
    /// Where logins may come from.
    #[serde(default)]
    pub secret_id_bound_cidrs: CidrList,
    /// Logins per secret id; 0 is unlimited.
    #[serde(default)]
    pub secret_id_num_uses: u64,
    /// Lifetime of secret ids; 0 never ends.
    #[serde(default)]
    pub secret_id_ttl: u64,
    /// Parameters of the tokens.
    #[serde(default)]
    pub token: TokenParams,
}

/// What a client asks for a new secret id; `None` takes the role's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretIdRequest {
    /// Shown by the tokens.
    pub metadata: BTreeMap<String, String>,
    /// Where logins may come from.
    pub cidr_list: CidrList,
    /// Where tokens may be used from.
    pub token_bound_cidrs: CidrList,
    /// Logins.
    pub num_uses: Option<u64>,
    /// Lifetime.
    pub ttl_secs: Option<u64>,
}

/// A secret id as stored. Wire type; times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretIdRecord {
    /// Version of this format.
    pub format: u8,
    /// Keyed hash of the secret id, the row's name.
    pub hash: String,
    /// The role it belongs to. Every look-up by accessor compares it (CVE-2023-24999).
    pub role: RoleName,
    /// Name for look-up and destruction.
    pub accessor: String,
    /// Shown by the tokens.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Where logins may come from.
    #[serde(default)]
    pub cidr_list: CidrList,
    /// Where tokens may be used from.
    #[serde(default)]
    pub token_bound_cidrs: CidrList,
    /// Logins left; `None` is unlimited.
    pub uses_left: Option<u64>,
    /// Lifetime in seconds; 0 never ends.
    pub ttl_secs: u64,
    /// When it was made.
    pub created: u64,
    /// When it ends; `None` is never.
    pub expires_at: Option<u64>,
    /// When it was last used.
    pub updated: u64,
}

impl SecretIdRecord {
    /// Whether its time is over at `now_secs` (unix).
    #[must_use]
    pub fn is_expired(&self, now_secs: u64) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now_secs)
    }
}

/// What a login leaves of the secret id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretIdUse {
    /// Nothing changes.
    Unlimited,
    /// Store this instead.
    Left(Box<SecretIdRecord>),
    /// This was the last login: delete the record and its accessor.
    Last,
}

/// Why a role or a secret id was not made: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppRoleError {
    /// Neither secret id nor address.
    #[error("at least one constraint should be enabled on the role")]
    Unbound,
    /// The role takes no secret ids.
    #[error("bind_secret_id is not set on the role")]
    NotBound,
    /// Empty or too long.
    #[error("an id must have 1 to {ID_BYTES_MAX} printable characters")]
    BadId,
    /// More logins than the role allows.
    #[error("num_uses cannot be greater than the role's secret_id_num_uses")]
    NumUses,
    /// Longer than the role allows.
    #[error("ttl cannot be longer than the role's secret_id_ttl")]
    Ttl,
    /// Addresses that the role does not allow.
    #[error(
        "cidr_list must lie within the role's secret_id_bound_cidrs, and token_bound_cidrs within the role's"
    )]
    Addresses,
    /// Too much metadata.
    #[error("metadata may have at most {META_ENTRIES_MAX} entries and {META_BYTES_MAX} bytes")]
    Metadata,
    /// Token parameters.
    #[error(transparent)]
    Params(#[from] ParamsError),
}

/// Why a login was refused, for the log. The caller learns [`REFUSED`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppRoleRefusal {
    /// No such secret id in this role.
    #[error("the secret id is unknown")]
    UnknownSecretId,
    /// The secret id belongs to another role.
    #[error("the secret id belongs to another role")]
    OtherRole,
    /// It has ended.
    #[error("the secret id has expired")]
    Expired,
    /// It was used up.
    #[error("the secret id has no uses left")]
    UsedUp,
    /// From an address that the role or the secret id does not bind.
    #[error(transparent)]
    Address(#[from] OutOfBounds),
}

/// The name of a secret id's row: a keyed hash over role and secret id. Compute it for unknown roles too, so
/// that known and unknown ones take the same time.
#[must_use]
pub fn secret_id_hash<'a>(
    index_key: &Secret<32>,
    role: &RoleName,
    secret_id: impl Into<Evidence<'a>>,
) -> String {
    let fields = [role.as_str().as_bytes(), secret_id.into().as_str().as_bytes()];
    HEXLOWER.encode(&crate::token::keyed_hash(index_key, label::SECRET_ID, &fields))
}

/// A fresh role id, secret id or accessor: 122 random bits in the form of a UUID, as Vault has it.
pub fn new_id(rng: &mut dyn CryptoRng) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0u8; 16]);
    rng.fill_bytes(&mut *bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = Zeroizing::new(HEXLOWER.encode(&*bytes));
    Zeroizing::new([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// Refuses ids that no client could mean.
pub fn check_id(id: &str) -> Result<(), AppRoleError> {
    let printable = id.chars().all(|next| !next.is_control() && !next.is_whitespace());
    if id.is_empty() || id.len() > ID_BYTES_MAX || !printable { Err(AppRoleError::BadId) } else { Ok(()) }
}

impl AppRole {
    /// Vault's rules for a role.
    pub fn check(&self) -> Result<(), AppRoleError> {
        check_id(&self.role_id)?;
        let by_address = self.secret_id_bound_cidrs.is_bound() || self.token.token_bound_cidrs.is_bound();
        if !self.bind_secret_id && !by_address {
            return Err(AppRoleError::Unbound);
        }
        Ok(self.token.check()?)
    }

    /// The record of a new secret id with this hash and accessor.
    pub fn secret_id(
        &self,
        request: &SecretIdRequest,
        hash: String,
        accessor: String,
        now_secs: u64,
    ) -> Result<SecretIdRecord, AppRoleError> {
        if !self.bind_secret_id {
            return Err(AppRoleError::NotBound);
        }
        let bytes: usize = request.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if request.metadata.len() > META_ENTRIES_MAX || bytes > META_BYTES_MAX {
            return Err(AppRoleError::Metadata);
        }
        let inside = |asked: &CidrList, bound: &CidrList| asked.is_empty() || asked.is_within(bound);
        if !inside(&request.cidr_list, &self.secret_id_bound_cidrs)
            || !inside(&request.token_bound_cidrs, &self.token.token_bound_cidrs)
        {
            return Err(AppRoleError::Addresses);
        }
        let num_uses = within(request.num_uses, self.secret_id_num_uses).ok_or(AppRoleError::NumUses)?;
        let ttl_secs = within(request.ttl_secs, self.secret_id_ttl).ok_or(AppRoleError::Ttl)?;
        Ok(SecretIdRecord {
            format: SecretIdRecord::FORMAT,
            hash,
            role: self.name.clone(),
            accessor,
            metadata: request.metadata.clone(),
            cidr_list: request.cidr_list.clone(),
            token_bound_cidrs: request.token_bound_cidrs.clone(),
            uses_left: (num_uses > 0).then_some(num_uses),
            ttl_secs,
            created: now_secs,
            expires_at: (ttl_secs > 0).then(|| now_secs.saturating_add(ttl_secs)),
            updated: now_secs,
        })
    }

    /// Judges a login. `record` is what the row of the presented secret id held, found by [`secret_id_hash`].
    pub fn admit(
        &self,
        record: Option<&SecretIdRecord>,
        remote: Option<IpAddr>,
        now_secs: u64,
    ) -> Result<(VerifiedIdentity, SecretIdUse), AppRoleRefusal> {
        let (usage, record) = match record {
            _ if !self.bind_secret_id => (SecretIdUse::Unlimited, None),
            None => return Err(AppRoleRefusal::UnknownSecretId),
            Some(record) => (self.spend(record, now_secs)?, Some(record)),
        };
        let anywhere = CidrList::default();
        let places = [&self.secret_id_bound_cidrs, record.map_or(&anywhere, |record| &record.cidr_list)];
        Ok((VerifiedIdentity::within_bounds(self.found(record)?, &places, remote)?, usage))
    }

    fn found(&self, record: Option<&SecretIdRecord>) -> Result<Found, OutOfBounds> {
        let mut params = self.token.clone();
        let mut meta = BTreeMap::new();
        if let Some(record) = record {
            meta.clone_from(&record.metadata);
            // The role may have been narrowed since, and older secret ids may have been made wider.
            let both = params.token_bound_cidrs.narrowed_by(&record.token_bound_cidrs);
            params.token_bound_cidrs = both.ok_or(OutOfBounds)?;
        }
        meta.insert("role_name".to_owned(), self.name.to_string());
        // the role id is half of a credential, so the role's name stands for it
        let actor = Actor::named("approle", self.name.as_str()).by_role(&self.name);
        Ok(Found {
            actor,
            subject: self.role_id.clone(),
            alias: self.role_id.clone(),
            display_name: String::new(),
            meta,
            attributes: BTreeMap::new(),
            params,
            evidence_ends_at: record.and_then(|record| record.expires_at),
            login_name: None,
        })
    }

    fn spend(&self, record: &SecretIdRecord, now_secs: u64) -> Result<SecretIdUse, AppRoleRefusal> {
        if record.role != self.name {
            return Err(AppRoleRefusal::OtherRole);
        }
        if record.is_expired(now_secs) {
            return Err(AppRoleRefusal::Expired);
        }
        match record.uses_left {
            None => Ok(SecretIdUse::Unlimited),
            Some(0) => Err(AppRoleRefusal::UsedUp),
            Some(1) => Ok(SecretIdUse::Last),
            Some(left) => Ok(SecretIdUse::Left(Box::new(SecretIdRecord {
                uses_left: Some(left - 1),
                updated: now_secs,
                ..record.clone()
            }))),
        }
    }
}

impl SecretIdRecord {
    /// The format that this code writes.
    pub const FORMAT: u8 = 1;
}

/// What is asked, if it does not exceed the role's bound; 0 is unlimited in both.
fn within(asked: Option<u64>, bound: u64) -> Option<u64> {
    match (asked, bound) {
        (None, bound) => Some(bound),
        (Some(asked), 0) => Some(asked),
        (Some(asked), bound) => (asked > 0 && asked <= bound).then_some(asked),
    }
}
