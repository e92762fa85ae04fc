//! The few commands that are needed (part 3). What is made or loaded is flushed at the end, also after a
//! failure: a TPM has three places.

use std::time::Duration;

use symbolon_core::tpm::answers::{Done, Said, created, first, parse};
use symbolon_core::tpm::objects::{self, COORDINATE, Name, Point};
use symbolon_core::tpm::policy::{POLICY_AUTHORIZE, POLICY_PCR};
use symbolon_core::tpm::wire::sized;
use symbolon_core::tpm::{Digest32, PcrSet, PcrValues, SHA256};
use symbolon_proto::Zeroizing;

use super::error::TpmError;
use super::link::Link;
use super::session::{Hides, Opening, Session};
use super::settings::Place;

const CREATE_PRIMARY: u32 = 0x0131;
const CREATE: u32 = 0x0153;
const LOAD: u32 = 0x0157;
const UNSEAL: u32 = 0x015e;
const FLUSH_CONTEXT: u32 = 0x0165;
const LOAD_EXTERNAL: u32 = 0x0167;
const START_AUTH_SESSION: u32 = 0x0176;
const VERIFY_SIGNATURE: u32 = 0x0177;
const PCR_READ: u32 = 0x017e;

const OWNER: u32 = 0x4000_0001;
const NO_HANDLE: u32 = 0x4000_0007;
/// The session that stands for an empty password.
const PASSWORD: [u8; 9] = [0x40, 0, 0, 9, 0, 0, 0, 0, 0];
const ECDSA: u16 = 0x0018;
const AES: u16 = 0x0006;
const CFB: u16 = 0x0043;
/// How often a command is sent that a TPM cannot take now.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// What a session is for.
#[derive(Clone, Copy)]
pub(super) enum Use {
    Hmac = 0,
    Policy = 1,
}

/// An object in the TPM, and its name as its public area gives it.
pub(super) struct Loaded {
    pub handle: u32,
    pub name: Name,
}

/// A TPM, and what is to be flushed.
pub(super) struct Tpm {
    link: Link,
    handles: Vec<u32>,
}

/// Does `work` with a TPM.
pub(super) fn with<T>(
    (place, after): (&Place, Duration),
    work: impl FnOnce(&mut Tpm) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let mut tpm = Tpm { link: Link::open(place, after)?, handles: Vec::new() };
    let done = work(&mut tpm);
    tpm.flush();
    done
}

impl Tpm {
    fn flush(&mut self) {
        while let Some(handle) = self.handles.pop() {
            if self.link.is_broken {
                return;
            }
            let command = message(0x8001, FLUSH_CONTEXT, &handle.to_be_bytes());
            let _ = self.link.exchange(&command); // nobody can do more about it
        }
    }

    /// Values of PCRs: a TPM gives eight at a time.
    pub fn read(&mut self, set: PcrSet) -> Result<PcrValues, TpmError> {
        let (mut values, mut read, mut left) = (PcrValues::default(), 0, Some(set));
        while let Some(wanted) = left {
            let got = self
                .run(PCR_READ, &[], (&[], &wanted.selection()), false, |done| values.add_read(done.params))?;
            if got & !read == 0 {
                return Err(TpmError::NoBank);
            }
            read |= got;
            left = set.without(read);
        }
        Ok(values)
    }

    /// The storage root key, and its point.
    pub fn storage(&mut self) -> Result<(Loaded, Point), TpmError> {
        let sensitive = [0, 4, 0, 0, 0, 0];
        let params = [sensitive.as_slice(), &sized(&objects::storage_template()), &[0, 0], &[0; 4]].concat();
        let auth = Some(PASSWORD.as_slice());
        let (handle, public) = self.make(CREATE_PRIMARY, (&[OWNER], auth, &params), |done| {
            first(done.params).map(<[u8]>::to_owned)
        })?;
        let point = objects::storage_point(&public)?;
        Ok((Loaded { handle, name: objects::name(&public) }, point))
    }

    /// A session that only the TPM with this storage root key can have begun.
    pub fn session(&mut self, (storage, point): &(Loaded, Point), kind: Use) -> Result<Session, TpmError> {
        let opening = Opening::to(point)?;
        let [aes, bits, cfb, sha256] = [AES, 128, CFB, SHA256].map(u16::to_be_bytes);
        let (nonce, secret) = (sized(&opening.nonce), sized(&opening.point));
        let params = [nonce.as_slice(), &secret, &[kind as u8], &aes, &bits, &cfb, &sha256].concat();
        let handles = [storage.handle, NO_HANDLE];
        let (handle, theirs) = self.make(START_AUTH_SESSION, (&handles, None, &params), |done| {
            first(done.params).map(<[u8]>::to_owned)
        })?;
        Ok(Session::begun(handle, &opening, &theirs))
    }

    /// Seals data; gives the private and the public part.
    pub fn create(
        &mut self,
        storage: &Loaded,
        session: &mut Session,
        (data, public): (&[u8], &[u8]),
    ) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
        let mut sensitive = Zeroizing::new(Vec::with_capacity(data.len().saturating_add(4)));
        let length = u16::try_from(data.len()).map_err(|_| TpmError::Garbled)?;
        sensitive.extend([0, 0]); // no password
        sensitive.extend(length.to_be_bytes());
        sensitive.extend(data);
        session.renew();
        session.encrypt(&mut sensitive)?;
        let params = [sized(&sensitive), sized(public), vec![0; 6]].concat();
        let auth = session.authorize(Hides::Command, CREATE, &[&storage.name], &params);
        self.run(CREATE, &[storage.handle], (&auth, &params), false, |done| {
            session.verify(CREATE, done.params, done.auths)?;
            let (private, public) = created(done.params)?;
            Ok::<_, TpmError>((private.to_owned(), public.to_owned()))
        })
    }

    /// Loads what was sealed.
    pub fn load(&mut self, storage: &Loaded, (private, public): (&[u8], &[u8])) -> Result<Loaded, TpmError> {
        let params = [sized(private), sized(public)].concat();
        let auth = Some(PASSWORD.as_slice());
        let (handle, ()) = self.make(LOAD, (&[storage.handle], auth, &params), |_| Ok(()))?;
        Ok(Loaded { handle, name: objects::name(public) })
    }

    /// Demands of a session that PCRs are as they are now.
    pub fn policy_pcr(&mut self, session: &Session, set: PcrSet) -> Result<(), TpmError> {
        let params = [vec![0, 0], set.selection()].concat();
        self.run(POLICY_PCR, &[session.handle], (&[], &params), false, |_| Ok::<_, TpmError>(()))
    }

    /// Has the TPM verify that a key signed a hash. What it gives is believed by itself only.
    pub fn verify_signature(
        &mut self,
        signer: &Point,
        (hash, signature): (&Digest32, &[u8; 2 * COORDINATE]),
    ) -> Result<Vec<u8>, TpmError> {
        let params = [vec![0, 0], sized(&objects::signer(signer)), OWNER.to_be_bytes().to_vec()].concat();
        let (key, ()) = self.make(LOAD_EXTERNAL, (&[], None, &params), |_| Ok(()))?;
        let (r, s) = signature.split_at(COORDINATE);
        let [ecdsa, sha256] = [ECDSA, SHA256].map(u16::to_be_bytes);
        let params = [sized(hash).as_slice(), &ecdsa, &sha256, &sized(r), &sized(s)].concat();
        let ticket = |done: Done<'_>| Ok::<_, TpmError>(done.params.to_owned());
        self.run(VERIFY_SIGNATURE, &[key], (&[], &params), false, ticket)
    }

    /// Puts in place of what a session has fulfilled that somebody signed it.
    pub fn policy_authorize(
        &mut self,
        session: &Session,
        (approved, reference): (&Digest32, &Digest32),
        (signer, ticket): (&Name, &[u8]),
    ) -> Result<(), TpmError> {
        let params = [sized(approved).as_slice(), &sized(reference), &sized(signer), ticket].concat();
        self.run(POLICY_AUTHORIZE, &[session.handle], (&[], &params), false, |_| Ok::<_, TpmError>(()))
    }

    /// What was sealed, if the session has fulfilled its policy.
    pub fn unseal(&mut self, object: &Loaded, session: &mut Session) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        session.renew();
        let auth = session.authorize(Hides::Answer, UNSEAL, &[&object.name], &[]);
        self.run(UNSEAL, &[object.handle], (&auth, &[]), false, |done| {
            session.verify(UNSEAL, done.params, done.auths)?;
            let mut data = Zeroizing::new(first(done.params)?.to_owned());
            session.decrypt(&mut data)?;
            Ok::<_, TpmError>(data)
        })
    }

    /// A command that gives a handle, which is flushed at the end.
    fn make<T>(
        &mut self,
        command: u32,
        (handles, auth, params): (&[u32], Option<&[u8]>, &[u8]),
        read: impl FnOnce(Done<'_>) -> Result<T, symbolon_core::tpm::Malformed>,
    ) -> Result<(u32, T), TpmError> {
        let (mut made, auth) = (None, auth.unwrap_or_default());
        let done = self.run(command, handles, (auth, params), true, |done| {
            made = Some(done.handle);
            read(done).map(|value| (done.handle, value))
        });
        self.handles.extend(made);
        done
    }

    fn run<T, E: Into<TpmError>>(
        &mut self,
        command: u32,
        handles: &[u32],
        (auth, params): (&[u8], &[u8]),
        gives_handle: bool,
        read: impl FnOnce(Done<'_>) -> Result<T, E>,
    ) -> Result<T, TpmError> {
        let mut body: Vec<u8> = handles.iter().flat_map(|handle| handle.to_be_bytes()).collect();
        if !auth.is_empty() {
            let length = u32::try_from(auth.len()).map_err(|_| TpmError::Garbled)?;
            body.extend(length.to_be_bytes());
        }
        body.extend([auth, params].concat());
        let tag = if auth.is_empty() { 0x8001 } else { 0x8002 };
        let answer = self.patiently(&message(tag, command, &body))?;
        match parse(&answer, gives_handle)? {
            Said::Done(done) => read(done).map_err(Into::into),
            Said::Code(code) => Err(TpmError::of(command, code)),
        }
    }

    /// Again, while the TPM says that it cannot now (retry, yielded, testing).
    #[allow(clippy::disallowed_methods)] // a thread of its own, and nothing to wait for
    fn patiently(&mut self, command: &[u8]) -> Result<Vec<u8>, TpmError> {
        for _ in 1..TRIES {
            let answer = self.link.exchange(command)?;
            match parse(&answer, false) {
                Ok(Said::Code(0x922 | 0x908 | 0x90a)) => std::thread::sleep(PAUSE),
                _ => return Ok(answer),
            }
        }
        self.link.exchange(command)
    }
}

fn message(tag: u16, command: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).saturating_add(10);
    [tag.to_be_bytes().as_slice(), &length.to_be_bytes(), &command.to_be_bytes(), body].concat()
}
