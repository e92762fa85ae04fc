//! A key sealed, and unsealed. With it stands a hash of what it is for, inside.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use symbolon_core::tpm::objects::{self, Point};
use symbolon_core::tpm::policy::{SignedPolicy, authorized, of_pcrs, reference};
use symbolon_core::tpm::{Digest32, PcrValues, TpmBinding, hash};
use symbolon_proto::secret::Secret;

use super::commands::{self, Loaded, Tpm, Use};
use super::error::TpmError;
use super::policies::{self, Signed};
use super::session::Session;
use super::settings::Settings;
use crate::custody::sources::SourceError;

/// A key, and the hash of what it is for.
const SEALED_BYTES: usize = 64;

/// The key, sealed under what the settings say.
pub(super) fn bind(settings: &Settings, key: &Secret<32>, purpose: &[u8]) -> Result<TpmBinding, SourceError> {
    let work = |tpm: &mut Tpm| {
        let pcrs = tpm.read(settings.pcrs)?;
        let signer = covered(tpm, settings, purpose)?;
        let policy = policy_of(signer.as_ref(), &pcrs, purpose)?;
        let storage = tpm.storage()?;
        let mut session = tpm.session(&storage, Use::Hmac)?;
        let data = Secret::<SEALED_BYTES>::filled_by(|out| {
            let (first, second) = out.split_at_mut(32);
            first.copy_from_slice(key.expose());
            second.copy_from_slice(&hash(&[purpose]));
        });
        let template = objects::sealed_template(&policy);
        let (private, public) = tpm.create(&storage.0, &mut session, (data.expose(), &template))?;
        if !objects::is_sealed_under(&public, &policy) {
            return Err(TpmError::Garbled);
        }
        Ok(TpmBinding { storage: storage.0.name, signer, pcrs, private, public })
    };
    Ok(commands::with((&settings.place, settings.timeout), work)?)
}

/// The signer, if there is to be one, and the state is let through already.
fn covered(tpm: &mut Tpm, settings: &Settings, purpose: &[u8]) -> Result<Option<Point>, TpmError> {
    let Some(configured) = &settings.signed else { return Ok(None) };
    let signer = policies::signer(&configured.signer_file)?;
    let signed = Signed::in_folder(&configured.folder, &signer, reference(purpose))?;
    let now = tpm.read(signed.set(settings.pcrs))?;
    match signed.covering(&now, settings.pcrs) {
        Some(_) => Ok(Some(signer)),
        None => Err(signed.none("the source is to be enrolled".to_owned())),
    }
}

fn policy_of(signer: Option<&Point>, pcrs: &PcrValues, purpose: &[u8]) -> Result<Digest32, TpmError> {
    match signer {
        Some(signer) => Ok(authorized(&objects::name(&objects::signer(signer)), &reference(purpose))),
        None => Ok(of_pcrs(pcrs.set().ok_or(TpmError::Kept)?, &pcrs.digest())),
    }
}

/// The key of a binding.
pub(super) fn recover(
    settings: &Settings,
    binding: &TpmBinding,
    purpose: &[u8],
) -> Result<Secret<32>, SourceError> {
    let policy = policy_of(binding.signer.as_ref(), &binding.pcrs, purpose)?;
    if !objects::is_sealed_under(&binding.public, &policy) {
        return Err(SourceError::Kept);
    }
    let work = |tpm: &mut Tpm| {
        let storage = tpm.storage()?;
        if storage.0.name != binding.storage {
            return Err(TpmError::OtherTpm);
        }
        let object = load(tpm, &storage.0, binding)?;
        let mut session = tpm.session(&storage, Use::Policy)?;
        match &binding.signer {
            None => as_it_was(tpm, &session, binding)?,
            Some(signer) => as_signed(tpm, &session, (settings, binding, signer), purpose)?,
        }
        let data = tpm.unseal(&object, &mut session).map_err(changed)?;
        opened(&data, purpose)
    };
    Ok(commands::with((&settings.place, settings.timeout), work)?)
}

/// What this TPM does not take as its own is damaged, or not what it sealed.
fn load(tpm: &mut Tpm, storage: &Loaded, binding: &TpmBinding) -> Result<Loaded, TpmError> {
    let loaded = tpm.load(storage, (&binding.private, &binding.public));
    loaded.map_err(|error| match error {
        TpmError::Code { code, .. } if code & 0x80 != 0 => TpmError::Kept,
        error => error,
    })
}

fn as_it_was(tpm: &mut Tpm, session: &Session, binding: &TpmBinding) -> Result<(), TpmError> {
    let set = binding.pcrs.set().ok_or(TpmError::Kept)?;
    let differing = binding.pcrs.differing(&tpm.read(set)?);
    if !differing.is_empty() {
        return Err(TpmError::Changed(named(&differing)));
    }
    tpm.policy_pcr(session, set)
}

fn as_signed(
    tpm: &mut Tpm,
    session: &Session,
    (settings, binding, signer): (&Settings, &TpmBinding, &Point),
    purpose: &[u8],
) -> Result<(), TpmError> {
    let unset = "policies_dir must be configured for a source that was enrolled with a signer";
    let unset = || TpmError::Source(SourceError::Refused(unset.to_owned()));
    let folder = &settings.signed.as_ref().ok_or_else(unset)?.folder;
    let signed = Signed::in_folder(folder, signer, reference(purpose))?;
    let set = binding.pcrs.set().ok_or(TpmError::Kept)?;
    let now = tpm.read(signed.set(set))?;
    let policy = signed.covering(&now, set);
    let policy = policy.ok_or_else(|| signed.none(named(&binding.pcrs.differing(&now))))?;
    fulfil(tpm, session, (policy, signer), &reference(purpose))
}

fn fulfil(
    tpm: &mut Tpm,
    session: &Session,
    (policy, signer): (&SignedPolicy, &Point),
    reference: &Digest32,
) -> Result<(), TpmError> {
    let approved = policy.digest();
    let signed = (&hash(&[&approved, reference]), policy.signature());
    let ticket = tpm.verify_signature(signer, signed)?;
    tpm.policy_pcr(session, policy.set())?;
    let name = objects::name(&objects::signer(signer));
    tpm.policy_authorize(session, (&approved, reference), (&name, &ticket)).map_err(changed)
}

/// The PCRs were read, and are not so any more; or the TPM that told of them was another one.
fn changed(error: TpmError) -> TpmError {
    const VALUE: u32 = 0x84;
    const POLICY_FAIL: u32 = 0x9d;
    const PCR_CHANGED: u32 = 0x128;
    match error.is(&[VALUE, POLICY_FAIL, PCR_CHANGED]) {
        true => TpmError::Changed("PCRs have changed while they were looked at, or".to_owned()),
        false => error,
    }
}

/// PCRs in words.
fn named(numbers: &[u8]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u8::to_string).collect();
    match numbers.as_slice() {
        [] => "no PCR has changed".to_owned(),
        [one] => format!("PCR {one} has changed"),
        all => format!("PCRs {} have changed", all.join(", ")),
    }
}

fn opened(data: &[u8], purpose: &[u8]) -> Result<Secret<32>, TpmError> {
    let (key, meant) = data.split_first_chunk::<32>().ok_or(TpmError::Kept)?;
    verify_slices_are_equal(meant, &reference(purpose)).map_err(|_| TpmError::Kept)?;
    Ok(Secret::filled_by(|out| out.copy_from_slice(key)))
}
