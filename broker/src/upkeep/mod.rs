//! What an open broker does by itself.
//!
//! ```text
//! heartbeat.rs  the tasks of a session: leases, heartbeats, dead man's switch, sweeps
//! backup.rs     backups on a schedule
//! collect/      what has ended is removed, page by page
//! group/        changes of the group of nodes, resumed after a crash
//! retention/    segments of the log counted, exported, indexed and pruned
//! sinks/        entries of the log on their way to other systems
//! rotation/     data re-encrypted under new keys
//! enrolment.rs  the newest manifest is stored          escrow.rs  newer shares are put into escrow
//! ```

pub mod backup;
pub mod collect;
pub mod enrolment;
mod escrow;
pub mod group;
pub mod heartbeat;
pub mod retention;
pub mod rotation;
pub mod sinks;
