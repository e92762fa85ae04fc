//! The operator's own key-value pairs on a secret.

use std::collections::BTreeMap;

use super::KvError;

const KEYS_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 512;

/// Vault's bounds: 64 keys of 128 bytes with values of 512 bytes, all printable.
pub fn check_custom_metadata(custom: &BTreeMap<String, String>) -> Result<(), KvError> {
    if custom.len() > KEYS_MAX {
        return Err(KvError::CustomTooMany);
    }
    for (key, value) in custom {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(KvError::CustomKey);
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(KvError::CustomValue);
        }
        if key.chars().chain(value.chars()).any(char::is_control) {
            return Err(KvError::CustomUnprintable);
        }
    }
    Ok(())
}

/// What becomes of the pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomUpdate {
    /// These take the place of all; none clears them.
    Replace(BTreeMap<String, String>),
    /// A merge patch: a value sets, `None` removes.
    Merge(BTreeMap<String, Option<String>>),
}

impl CustomUpdate {
    /// The pairs afterwards; `None` if there are none.
    pub(super) fn apply(
        &self,
        custom: Option<&BTreeMap<String, String>>,
    ) -> Result<Option<BTreeMap<String, String>>, KvError> {
        let pairs = match self {
            Self::Replace(pairs) => pairs.clone(),
            Self::Merge(patch) => merged(custom, patch),
        };
        check_custom_metadata(&pairs)?;
        Ok((!pairs.is_empty()).then_some(pairs))
    }
}

fn merged(
    custom: Option<&BTreeMap<String, String>>,
    patch: &BTreeMap<String, Option<String>>,
) -> BTreeMap<String, String> {
    let mut merged = custom.cloned().unwrap_or_default();
    for (key, value) in patch {
        match value {
            Some(value) => merged.insert(key.clone(), value.clone()),
            None => merged.remove(key),
        };
    }
    merged
}
