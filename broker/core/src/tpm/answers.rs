//! An answer taken apart, and what is in it.

use super::MESSAGE_BYTES_MAX;
use super::wire::{Malformed, Reader};

/// Of the first ten bytes.
const HEAD: usize = 10;
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;

/// An answer that says yes.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    /// What was made or loaded; 0 if the command gives none.
    pub handle: u32,
    /// What the command gives.
    pub params: &'a [u8],
    /// Of the sessions.
    pub auths: &'a [u8],
}

/// What a TPM says.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// It was done.
    Done(Done<'a>),
    /// It was not, and the code says why.
    Code(u32),
}

/// Length of a whole answer from its first ten bytes.
pub fn length(head: &[u8; HEAD]) -> Result<usize, Malformed> {
    let mut reader = Reader::new(head);
    reader.u16()?;
    let length = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
    if (HEAD..=MESSAGE_BYTES_MAX).contains(&length) { Ok(length) } else { Err(Malformed) }
}

/// Takes an answer apart. `gives_handle` is a matter of the command.
pub fn parse(answer: &[u8], gives_handle: bool) -> Result<Said<'_>, Malformed> {
    let mut reader = Reader::new(answer);
    let (tag, size, code) = (reader.u16()?, reader.u32()?, reader.u32()?);
    if usize::try_from(size) != Ok(answer.len()) || answer.len() > MESSAGE_BYTES_MAX {
        return Err(Malformed);
    }
    if code != 0 {
        return Ok(Said::Code(code));
    }
    let handle = if gives_handle { reader.u32()? } else { 0 };
    let done = match tag {
        NO_SESSIONS => Done { handle, params: reader.rest(), auths: &[] },
        SESSIONS => {
            let length = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
            Done { handle, params: reader.bytes(length)?, auths: reader.rest() }
        }
        _ => return Err(Malformed),
    };
    Ok(Said::Done(done))
}

/// What a session said of itself: its new nonce, its attributes, its HMAC.
pub fn auth(auths: &[u8]) -> Result<(&[u8], u8, &[u8]), Malformed> {
    let mut reader = Reader::new(auths);
    let auth = (reader.sized()?, reader.u8()?, reader.sized()?);
    reader.end().map(|()| auth)
}

/// The first buffer: a public area (`CreatePrimary`), a nonce (`StartAuthSession`) or a name (`Load`).
pub fn first(params: &[u8]) -> Result<&[u8], Malformed> {
    Reader::new(params).sized()
}

/// The private and the public part of an object (`Create`).
pub fn created(params: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut reader = Reader::new(params);
    Ok((reader.sized()?, reader.sized()?))
}
