//! Group changes.

pub mod change;
pub mod change_rows;
pub mod leaving;
pub mod leaving_rows;

pub use change::Changer;
pub use leaving::Leaving;
