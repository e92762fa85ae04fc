//! How clients speak, apart from what is asked: requests, fields, envelopes, times. Knows no engine and no
//! HTTP server.

pub mod time;
pub mod vault;
