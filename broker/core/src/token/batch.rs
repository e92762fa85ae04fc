//! Machine tokens: the claims themselves, encrypted. Nothing is stored, so a million logins cost no memory or
//! disk.
//!
//! `hvb.` + base64url(version(1) ‖ SealedBox). The price: one such token cannot be revoked, so it lives for
//! an hour unless its role says otherwise, never longer than a day, and a token made by a service token dies
//! with that one (whoever accepts it checks [`super::Caller::parent`]). Rotating the key ends all of them.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use symbolon_proto::id::TenantId;
use symbolon_proto::secret::Secret;
use symbolon_proto::{Zeroizing, label, sealedbox};

use super::format::{BATCH_PREFIX, TOKEN_BYTES_MAX};
use super::{BadToken, Caller, TokenClaims, TokenKind};

/// Lifetime of a machine token whose role says nothing.
pub const MACHINE_TTL_SECS_DEFAULT: u64 = 3600;
/// Longest lifetime of a machine token, whatever its role says.
pub const MACHINE_TTL_SECS_MAX: u64 = 86_400;

const FORMAT: u8 = 1;

/// The claims do not fit into a header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token would be longer than clients can send; give it fewer policies or less metadata")]
pub struct SealTokenError;

/// A stateless token before it is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineToken {
    tenant: TenantId,
    claims: TokenClaims,
}

/// What is encrypted. Version 1; fields are only ever added.
#[derive(Serialize, Deserialize)]
struct Wire {
    tenant: String,
    claims: TokenClaims,
}

impl MachineToken {
    /// A token for `tenant`. Forces what no machine token has: renewal, period, use count, root, an endless
    /// life.
    #[must_use]
    pub fn new(tenant: TenantId, claims: TokenClaims) -> Self {
        let ttl_secs = match claims.ttl_secs {
            0 => MACHINE_TTL_SECS_DEFAULT,
            secs => secs.min(MACHINE_TTL_SECS_MAX),
        };
        let mut policies = claims.policies;
        policies.retain(|policy| !policy.is_root());
        let claims = TokenClaims {
            policies,
            ttl_secs,
            max_ttl_secs: 0,
            explicit_max_ttl_secs: 0,
            period_secs: 0,
            renewable: false,
            num_uses: 0,
            ..claims
        };
        Self { tenant, claims }
    }

    /// What the token says.
    #[must_use]
    pub fn claims(&self) -> &TokenClaims {
        &self.claims
    }

    /// Whom the token stands for, for the answer to the login.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::from_claims(&self.claims, self.tenant, TokenKind::Batch)
    }

    /// The token as the client gets it.
    pub fn seal(
        &self,
        key: &Secret<32>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Zeroizing<String>, SealTokenError> {
        let wire = Wire { tenant: self.tenant.to_string(), claims: self.claims.clone() };
        let plaintext = Zeroizing::new(serde_json::to_vec(&wire).map_err(|_| SealTokenError)?);
        let mut bytes = vec![FORMAT];
        bytes.extend(
            sealedbox::seal(key, label::CONTEXT_MACHINE_TOKEN, &plaintext, rng)
                .map_err(|_| SealTokenError)?,
        );
        let token = Zeroizing::new(format!("{BATCH_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)));
        if token.len() > TOKEN_BYTES_MAX { Err(SealTokenError) } else { Ok(token) }
    }

    /// Whom a presented token stands for, if it is ours, good now and from there.
    pub fn open(
        key: &Secret<32>,
        token: &str,
        remote: Option<IpAddr>,
        now_secs: u64,
    ) -> Result<Caller, BadToken> {
        let caller = Self::describe(key, token, now_secs)?;
        if caller.bound_cidrs.admits(remote) { Ok(caller) } else { Err(BadToken) }
    }

    /// The same facts wherever the token may be used, for look-ups of another's.
    pub fn describe(key: &Secret<32>, token: &str, now_secs: u64) -> Result<Caller, BadToken> {
        let sealed = token.strip_prefix(BATCH_PREFIX).filter(|_| token.len() <= TOKEN_BYTES_MAX);
        let bytes = URL_SAFE_NO_PAD.decode(sealed.ok_or(BadToken)?).map_err(|_| BadToken)?;
        let Some((&FORMAT, boxed)) = bytes.split_first() else { return Err(BadToken) };
        let plaintext = sealedbox::open(key, label::CONTEXT_MACHINE_TOKEN, boxed).map_err(|_| BadToken)?;
        let wire: Wire = serde_json::from_slice(&plaintext).map_err(|_| BadToken)?;
        let machine = Self { tenant: wire.tenant.parse().map_err(|_| BadToken)?, claims: wire.claims };
        let expires_at = machine.claims.expires_at().ok_or(BadToken)?;
        if expires_at <= now_secs { Err(BadToken) } else { Ok(machine.caller()) }
    }
}
