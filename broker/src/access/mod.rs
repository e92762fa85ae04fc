//! Who may do what: the open session, and a request on its way through it.
//!
//! ```text
//! requester.rs  who asks, as the wire has it        request.rs   caller → grant → entry → receipt
//! session.rs    what an open broker works with      object.rs    what the entry is about
//! tokens.rs     a token's rows and whom it means    policies.rs  the policies in force
//! freshness.rs  when mounts and policies are read again
//! mounts.rs     what answers below which path       shape.rs     what engines and methods say of themselves
//! route.rs      the path that policies judge        state.rs     what folders keep while it is open
//! builtins.rs   mounts that every deployment has   endings.rs   rows that end by themselves
//! payer.rs      on whose account evaluations go
//! ```

use crate::rows::Table;

pub mod builtins;
mod channel;
pub mod endings;
mod freshness;
pub mod mounts;
mod object;
pub mod payer;
pub mod policies;
mod request;
mod requester;
mod route;
pub mod session;
pub mod shape;
mod state;
pub mod tokens;

pub use channel::Channel;
pub use freshness::{Configuration, LOOK_MS};
pub use object::Object;
pub(crate) use request::describe;
pub use request::{Authorised, Request, is_still_allowed, malformed, unrouted};
pub use requester::{Asker, Requester};
pub use route::Route;
pub use session::{Session, Turn};

/// Tables of this room.
pub const TABLES: &[Table] = &[mounts::MOUNTS, policies::POLICIES, tokens::TOKENS, tokens::ACCESSORS];
