//! Which of the two rows that tell where a log ends is the newer one.

use symbolon_proto::log::Head;

/// Where a log ends whose checkpoint and head say this. A version that knew no heads leaves an older one
/// behind, or none; what it wrote is signed to the last entry.
pub(super) fn later(signed: Head, head: Option<Head>) -> Head {
    head.filter(|head| head.size >= signed.size).unwrap_or(signed)
}
