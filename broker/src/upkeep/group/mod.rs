//! What happens to a group after its enrolment: renewal of its manifest, refresh of its shares, another t or
//! n, a fresh key.
//!
//! ```text
//! refresh.rs       new shares for the same nodes
//! reshare.rs       the same key for other nodes
//! epoch.rs         a fresh key beside the old one, and its end
//! changer.rs       a change from its first store to its end, whichever of these began it
//! change_rows.rs   a change that was begun, stored
//! leaving.rs       nodes that a reshare leaves behind are told until they have erased their shares
//! leaving_rows.rs  nodes that left, stored
//! ```
//!
//! What is asked of which node, and how it is checked, is in `remote/group/`.

mod change_rows;
mod changer;
mod epoch;
mod leaving;
mod leaving_rows;
mod refresh;
mod reshare;

pub use changer::Changer;
pub use leaving::Leaving;
