//! Rows that end by themselves, and how whoever collects them tells that one has.
//!
//! A table whose rows end says so where it is declared (`Life::Ends`), and its owner's descriptor has an
//! [`Ending`] for it. `upkeep::collect` does the rest.

use std::pin::Pin;

use symbolon_core::audit::Draft;
use symbolon_core::token::TokenHash;

use super::session::Session;
use crate::error::OpError;
use crate::rows::{Cursor, Found, Table};
use crate::store::Write;

/// What goes with a row that has ended.
#[derive(Default)]
pub struct Ended {
    /// The end of the row, and of what belongs to it: one commit, or none of it.
    pub changes: Vec<Write>,
    /// A token that is gone with it, whose belongings engines remove.
    pub token: Option<TokenHash>,
}

/// The answer of somebody who looks at one row: `None` lets it stay. A row that cannot be judged because it,
/// or what it leads to, is damaged is [`OpError::Damaged`] and stays, too.
pub type Looking<'a> = Pin<Box<dyn Future<Output = Result<Option<Ended>, OpError>> + Send + 'a>>;

/// Where a walk through the rows is, for whoever keeps something from one row to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// It has not begun, or has begun anew after a failure.
    Begins,
    /// Every row was looked at.
    Ends,
}

/// How the rows of a table end.
#[derive(Debug)]
pub struct Ending {
    /// Which table.
    pub table: Table,
    /// Where in it; `None` if there is nothing to look at now.
    pub rows: fn(&Session) -> Option<Cursor>,
    /// The entry of each commit.
    pub entry: fn() -> Draft,
    /// Whether a row has ended.
    pub look: for<'a> fn(&'a Session, &'a Found) -> Looking<'a>,
    /// Told when a walk begins and when it has come to its end.
    pub round: fn(&Session, Round),
}

impl Ending {
    /// For those who keep nothing from row to row.
    pub const FORGETS: fn(&Session, Round) = |_, _| {};
}
