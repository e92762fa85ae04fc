//! Handshakes in memory: what both ends agree on, and whom they refuse.
#![allow(clippy::unwrap_used)]

use rustls::{ClientConnection, Connection, NamedGroup, ProtocolVersion, ServerConnection};

use super::*;
use crate::TlsIdentity;

/// Lets in one key.
#[derive(Debug)]
struct Only(SpkiHash);

impl Admission for Only {
    fn admits(&self, peer: SpkiHash) -> bool {
        self.0 == peer
    }
}

fn certified(identity: &TlsIdentity) -> CertifiedKey {
    identity.certified_key().unwrap()
}

/// Carries what one end has to say to the other.
fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = bytes.as_slice();
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// Both ends, when neither has anything to say any more; or why one of them refuses the other.
fn shake_hands(client: ClientConfig, server: ServerConfig) -> Result<(Connection, Connection), Error> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client: Connection = ClientConnection::new(Arc::new(client), name)?.into();
    let mut server: Connection = ServerConnection::new(Arc::new(server))?.into();
    while client.wants_write() || server.wants_write() {
        carry(&mut client, &mut server)?;
        carry(&mut server, &mut client)?;
    }
    Ok((client, server))
}

#[test]
fn both_ends_agree_and_know_each_other_by_their_keys() {
    let (broker, service) = (TlsIdentity::generate().unwrap(), TlsIdentity::generate().unwrap());
    let client = client_config(&certified(&broker), Only(*service.spki())).unwrap();
    let server = server_config(certified(&service), Only(*broker.spki())).unwrap();
    let (client, server) = shake_hands(client, server).unwrap();
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let group = client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    assert_eq!((client.alpn_protocol(), server.alpn_protocol()), (Some(ALPN), Some(ALPN)));
    let seen = server.peer_certificates().unwrap();
    assert_eq!(spki_hash(&seen[0]).unwrap(), *broker.spki());
}

#[test]
fn another_key_is_refused_at_either_end() {
    let (broker, service) = (TlsIdentity::generate().unwrap(), TlsIdentity::generate().unwrap());
    let refused = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    let client = client_config(&certified(&broker), Only([7; 32])).unwrap();
    let server = server_config(certified(&service), Anybody).unwrap();
    assert_eq!(shake_hands(client, server).err(), Some(refused.clone()));
    let client = client_config(&certified(&broker), Only(*service.spki())).unwrap();
    let server = server_config(certified(&service), Only([7; 32])).unwrap();
    assert_eq!(shake_hands(client, server).err(), Some(refused));
}

#[test]
fn a_certificate_without_its_key_proves_nothing() {
    let (broker, service) = (TlsIdentity::generate().unwrap(), TlsIdentity::generate().unwrap());
    let forged = CertifiedKey::new(
        vec![broker.certificate().clone()],
        certified(&TlsIdentity::generate().unwrap()).key,
    );
    let client = client_config(&forged, Anybody).unwrap();
    let server = server_config(certified(&service), Anybody).unwrap();
    assert_eq!(
        shake_hands(client, server).err(),
        Some(Error::InvalidCertificate(CertificateError::BadSignature))
    );
}

#[test]
fn a_chain_is_refused() {
    let (broker, service) = (TlsIdentity::generate().unwrap(), TlsIdentity::generate().unwrap());
    let mut chain = certified(&broker);
    chain.cert.push(service.certificate().clone());
    let client = client_config(&chain, Anybody).unwrap();
    let server = server_config(certified(&service), Anybody).unwrap();
    let refused = Error::InvalidCertificate(CertificateError::BadEncoding);
    assert_eq!(shake_hands(client, server).err(), Some(refused));
}

#[test]
fn what_is_no_certificate_has_no_pin() {
    assert!(spki_hash(&CertificateDer::from(vec![0x30, 0x00])).is_err());
    assert!(spki_hash(&CertificateDer::from(vec![0; CERTIFICATE_BYTES_MAX + 1])).is_err());
    let mut trailing = TlsIdentity::generate().unwrap().certificate().to_vec();
    trailing.push(0);
    assert!(spki_hash(&CertificateDer::from(trailing)).is_err());
}

#[test]
fn one_group_is_offered() {
    let names: Vec<_> = provider().kx_groups.iter().map(|group| group.name()).collect();
    assert_eq!(names, [NamedGroup::X25519MLKEM768]);
}
