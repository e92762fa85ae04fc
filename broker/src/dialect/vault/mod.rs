//! The dialect of Vault's clients.
//!
//! ```text
//! request.rs   head and body → one path, one verb, one set of fields
//! fields.rs    typed reading of those
//! heed.rs      which of them nobody has read
//! call.rs      the same in a session, as engines and methods get it
//! reply.rs     what goes back
//! error.rs     what goes back instead
//! envelope.rs  answers in Vault's envelope
//! status.rs    statuses, of which 404 needs a proof
//! warned.rs    those with warnings about what was not heeded
//! limits.rs    bounds that several of these name
//! ```

pub mod call;
pub mod envelope;
pub mod error;
pub mod fields;
mod heed;
pub mod limits;
pub mod reply;
pub mod request;
pub mod status;
mod warned;

use std::future::Future;
use std::pin::Pin;

pub use call::Call;
pub use error::{FaceError, VaultError};
pub use fields::{Fields, Reader};
pub use reply::{Form, Reply};
pub use request::{VaultRequest, Verb};
pub use status::Status;

/// What a handler gives: an answer to send, or why there is none.
pub type Answer = Result<Reply, VaultError>;

/// The same on its way, as the tables of engines and methods have it.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// The route exists, but not for this verb.
pub fn unsupported() -> Answer {
    Err(FaceError::Unsupported.into())
}
