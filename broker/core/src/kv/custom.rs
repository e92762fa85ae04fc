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

/// Applies a merge patch: a value sets, `None` removes.
pub fn merge_custom_metadata(
    custom: Option<&BTreeMap<String, String>>,
    patch: &BTreeMap<String, Option<String>>,
) -> Result<BTreeMap<String, String>, KvError> {
    let mut merged = custom.cloned().unwrap_or_default();
    for (key, value) in patch {
        match value {
            Some(value) => merged.insert(key.clone(), value.clone()),
            None => merged.remove(key),
        };
    }
    check_custom_metadata(&merged)?;
    Ok(merged)
}
