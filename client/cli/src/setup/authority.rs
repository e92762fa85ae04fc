//! A broker's certificate, made by ourselves: a small authority, whose certificate clients pin, and a server
//! certificate that it signs. Its key is used when the server's certificate is made or renewed, and never by
//! the broker; it may be kept elsewhere meanwhile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use symbolon_net::certificate::{self, Facts};

use super::place::{self, Account, PUBLIC, SECRET};
use super::{Deed, Layout, SetupError, Step};
use crate::setup::names::Host;

/// How the names of our authorities begin.
const AUTHORITY: &str = "Symbolon broker CA";
const DAY_SECS: u64 = 86_400;
/// Clients copy it by hand, so it lasts.
const AUTHORITY_DAYS: u64 = 3650;
/// The longest that every client accepts of a certificate.
const SERVER_DAYS: u64 = 825;
/// With less left it is renewed.
const RENEW_DAYS: u64 = 90;
/// Clocks that differ.
const BEFORE: Duration = Duration::from_secs(DAY_SECS);

/// Files of a certificate.
pub struct Files {
    /// What clients pin.
    pub ca: PathBuf,
    ca_key: PathBuf,
    /// The server's.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Files {
    /// Beside the configuration.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        let [ca, ca_key, cert, key] =
            ["ca.pem", "ca.key", "tls.crt", "tls.key"].map(|name| layout.config(name));
        Self { ca, ca_key, cert, key }
    }

    /// Makes what is missing, and renews the server's certificate if its end is near or a name is new.
    /// `names` are those of the broker, `certified` those of a certificate that is made.
    pub fn make(
        &self,
        names: &[Host],
        certified: &[Host],
        account: &Account,
        now_secs: u64,
    ) -> Result<Vec<Step>, SetupError> {
        if let (Some(_), None) = (place::read(&self.cert)?, place::read_secret(&self.key)?) {
            return Err(SetupError::Half { found: self.cert.clone(), missing: self.key.clone() });
        }
        if let Some(facts) = self.foreign()? {
            return self.kept(&facts, names, account);
        }
        let wanted = self.wanted(certified, now_secs)?;
        let (ca_deed, issuer) = self.issuer(wanted.is_some(), now_secs)?;
        let (own_deed, server_key) = key(&self.key)?;
        place::give(&self.key, account)?;
        let deed = match (wanted, &issuer) {
            (Some(deed), Some((_, issuer))) => {
                let server = server(certified, now_secs)?.signed_by(&server_key, issuer)?;
                place::replace(&self.cert, PUBLIC, &server.pem())?;
                deed
            }
            _ => Deed::Kept,
        };
        let step = |deed, path: &PathBuf, what| Step { deed, path: path.clone(), what };
        let mut steps = vec![step(ca_deed, &self.ca, "certificate that clients trust")];
        steps.extend(
            issuer.map(|(deed, _)| {
                step(deed, &self.ca_key, "key that signs the broker's; may be kept elsewhere")
            }),
        );
        steps.push(step(own_deed, &self.key, "key of the broker's certificate"));
        steps.push(step(deed, &self.cert, "certificate of the broker"));
        Ok(steps)
    }

    /// A certificate that we have not made.
    fn foreign(&self) -> Result<Option<Facts>, SetupError> {
        Ok(facts(&self.cert)?.filter(|facts| !facts.issuer.contains(AUTHORITY)))
    }

    /// It is looked at and never replaced, whatever its names are.
    fn kept(&self, facts: &Facts, names: &[Host], account: &Account) -> Result<Vec<Step>, SetupError> {
        place::give(&self.key, account)?;
        let deed = if are_in(names, facts) { Deed::Kept } else { Deed::Differs };
        let step = |deed, path: &PathBuf, what| Step { deed, path: path.clone(), what };
        let what = "certificate of the broker, of your own; not for every name";
        let what = if deed == Deed::Kept { "certificate of the broker, of your own" } else { what };
        Ok(vec![step(Deed::Kept, &self.key, "its key"), step(deed, &self.cert, what)])
    }

    /// What clients trust: the authority, or a certificate that somebody else made.
    pub fn trusted(&self) -> Result<&Path, SetupError> {
        Ok(if self.foreign()?.is_some() { &self.cert } else { &self.ca })
    }

    /// Whether the server's certificate must be made.
    fn wanted(&self, names: &[Host], now_secs: u64) -> Result<Option<Deed>, SetupError> {
        let Some(found) = facts(&self.cert)? else { return Ok(Some(Deed::Made)) };
        let ends = u64::try_from(found.end_secs).unwrap_or(0);
        let lasts = ends > now_secs + RENEW_DAYS * DAY_SECS;
        let is_signed = facts(&self.ca)?.is_none_or(|ca| ca.subject == found.issuer);
        Ok((!are_in(names, &found) || !lasts || !is_signed).then_some(Deed::Renewed))
    }

    /// The authority, if it has to sign.
    fn issuer(&self, is_wanted: bool, now_secs: u64) -> Result<(Deed, Option<Signer>), SetupError> {
        let is_there = place::read(&self.ca)?.is_some();
        let has_key = place::read_secret(&self.ca_key)?.is_some();
        if is_there && !has_key {
            if is_wanted {
                return Err(SetupError::Half { found: self.ca.clone(), missing: self.ca_key.clone() });
            }
            return Ok((Deed::Kept, None));
        }
        let (key_deed, key) = key(&self.ca_key)?;
        let authority = authority(&key, now_secs);
        let mut deed = Deed::Kept;
        if !is_there {
            place::file(&self.ca, PUBLIC, &authority.self_signed(&key)?.pem(), "")?;
            deed = Deed::Made;
        }
        Ok((deed, Some((key_deed, Issuer::new(authority, key)))))
    }

    /// SHA-256 of the certificate that clients trust, as OpenSSL and browsers show it.
    pub fn fingerprint(&self) -> Result<String, SetupError> {
        let der = CertificateDer::from_pem_file(self.trusted()?).map_err(|_| nothing_in(&self.ca))?;
        let bytes = Sha256::digest(&der);
        Ok(bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"))
    }
}

/// What is in a certificate's file, if there is one.
fn facts(path: &Path) -> Result<Option<Facts>, SetupError> {
    let read = |text: symbolon_proto::Zeroizing<String>| certificate::first_facts(text.as_bytes());
    place::read(path)?.map(|text| read(text).ok_or_else(|| nothing_in(path))).transpose()
}

fn nothing_in(path: &Path) -> SetupError {
    SetupError::Unusable { path: path.to_owned(), reason: "no certificate is in it; move it away".to_owned() }
}

fn are_in(names: &[Host], facts: &Facts) -> bool {
    names.iter().all(|name| facts.names.iter().any(|found| found == name.as_str()))
}

/// What signs, and what became of its key.
type Signer = (Deed, Issuer<'static, KeyPair>);

fn key(path: &Path) -> Result<(Deed, KeyPair), SetupError> {
    if let Some(pem) = place::read_secret(path)? {
        let key = KeyPair::from_pem(&pem);
        let reason = "it is no private key in PKCS#8; nothing is made over it, so move it away".to_owned();
        return key
            .map(|key| (Deed::Kept, key))
            .map_err(|_| SetupError::Unusable { path: path.to_owned(), reason });
    }
    let key = KeyPair::generate()?;
    let pem = symbolon_proto::Zeroizing::new(key.serialize_pem());
    place::file(path, SECRET, &pem, "")?;
    Ok((Deed::Made, key))
}

/// The same for one key whenever it is made, but for its dates: what it has signed stays valid.
fn authority(key: &KeyPair, now_secs: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let id = Sha256::digest(key.der_bytes());
    let id: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name.push(DnType::CommonName, format!("{AUTHORITY} {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    last(&mut params, now_secs, AUTHORITY_DAYS);
    params
}

fn server(names: &[Host], now_secs: u64) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names.iter().map(Host::to_string).collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Symbolon broker");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    last(&mut params, now_secs, SERVER_DAYS);
    Ok(params)
}

fn last(params: &mut CertificateParams, now_secs: u64, days: u64) {
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(now_secs);
    params.not_before = now - BEFORE;
    params.not_after = now + Duration::from_secs((days - 1) * DAY_SECS);
}
