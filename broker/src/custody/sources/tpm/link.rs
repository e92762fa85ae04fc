//! Bytes to a TPM and back: a device file, or what `swtpm socket --server type=tcp` speaks.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use symbolon_core::tpm::MESSAGE_BYTES_MAX;
use symbolon_core::tpm::answers::length;

use super::error::TpmError;
use super::settings::Place;

/// What leads to a TPM. After a failure it is not used again.
pub(super) struct Link {
    way: Way,
    after: Duration,
    pub is_broken: bool,
}

enum Way {
    /// One write is one command, one read one answer.
    File(File),
    Tcp(TcpStream),
}

impl Link {
    /// Opens it.
    pub fn open(place: &Place, after: Duration) -> Result<Self, TpmError> {
        let way = match place {
            Place::File(path) => {
                File::options().read(true).write(true).open(path).map(Way::File).map_err(TpmError::Link)?
            }
            Place::Tcp(address) => {
                let failed = |error| of(error, after);
                let stream = TcpStream::connect_timeout(address, after).map_err(failed)?;
                stream.set_read_timeout(Some(after)).map_err(failed)?;
                stream.set_write_timeout(Some(after)).map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                Way::Tcp(stream)
            }
        };
        Ok(Self { way, after, is_broken: false })
    }

    /// The whole answer to a command.
    pub fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, TpmError> {
        let after = self.after;
        let answer = match &mut self.way {
            Way::File(file) => through_file(file, command),
            Way::Tcp(stream) => through_tcp(stream, command),
        };
        self.is_broken = answer.is_err();
        answer.map_err(|error| of(error, after))
    }
}

fn through_file(file: &mut File, command: &[u8]) -> io::Result<Vec<u8>> {
    file.write_all(command)?;
    let mut answer = vec![0; MESSAGE_BYTES_MAX];
    let length = file.read(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

fn through_tcp(stream: &mut TcpStream, command: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(command)?;
    let mut head = [0; 10];
    stream.read_exact(&mut head)?;
    let whole = length(&head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let mut rest = vec![0; whole.saturating_sub(head.len())];
    stream.read_exact(&mut rest)?;
    Ok([head.as_slice(), &rest].concat())
}

fn of(error: io::Error, after: Duration) -> TpmError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => TpmError::Silent(after),
        io::ErrorKind::InvalidData => TpmError::Garbled,
        _ => TpmError::Link(error),
    }
}
