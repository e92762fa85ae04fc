//! Frames of HTTP/2 by hand (RFC 9113, RFC 7541): no client library lets one misbehave.

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// With the window of each stream.
pub fn settings(window: u32) -> Vec<u8> {
    frame(4, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat())
}

pub fn ping() -> Vec<u8> {
    frame(6, 0, 0, &[7; 8])
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(3, 0, stream, &8_u32.to_be_bytes())
}

pub fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(0, 0, stream, bytes)
}

/// A whole request.
pub fn get(path: &str, stream: u32) -> Vec<u8> {
    frame(1, 0x5, stream, &[&[0x82, 0x87][..], &text(0x04, path), &text(0x01, "x")].concat())
}

/// A request whose body is to come.
pub fn post(path: &str, bytes: u32, stream: u32) -> Vec<u8> {
    let length = [&[0x0f][..], &text(0x0d, &bytes.to_string())].concat();
    frame(1, 0x4, stream, &[&[0x83, 0x87][..], &text(0x04, path), &text(0x01, "x"), &length].concat())
}

/// A header whose name has an index, not indexed; its value is shorter than 127 bytes.
fn text(index: u8, value: &str) -> Vec<u8> {
    [&[index, u8::try_from(value.len()).unwrap()][..], value.as_bytes()].concat()
}
