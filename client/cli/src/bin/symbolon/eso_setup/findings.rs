//! What was looked at, one line each, and how it stands.

use reqwest::StatusCode;
use serde_json::{Map, Value, json};
use symbolon_cli::demo::eso::EsoError;
use symbolon_cli::demo::property;

use crate::failure::{Code, Failure};
use crate::globals::Globals;
use crate::output::columns;

/// How a thing stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Made,
    Right,
    Note,
    Missing,
}

/// What was looked at, one line each.
#[derive(Default)]
pub(super) struct Findings(Vec<(Mark, String, String)>);

impl Findings {
    pub(super) fn add(&mut self, mark: Mark, what: &str, how: &str) {
        self.0.push((mark, what.to_owned(), how.to_owned()));
    }

    pub(super) fn missing(&mut self, what: &str, how: &str) {
        self.add(Mark::Missing, what, how);
    }

    pub(super) fn read(
        &mut self,
        (key, place): (&str, &str),
        read: Result<Map<String, Value>, EsoError>,
        field: Option<&str>,
        mount: &str,
    ) {
        let what = &format!("{key} from {place}");
        match read {
            Ok(data) if property::select(&data, field).is_some() => self.add(Mark::Right, what, "is there"),
            Ok(_) => self.missing(what, "the secret is there, and has no such property"),
            Err(EsoError::NotFound) => {
                let field = field.unwrap_or("NAME");
                self.missing(what, &format!("is not there yet: symbolon kv put {mount}/{place} {field}=-"));
            }
            Err(error) => self.missing(what, &failed(&error)),
        }
    }

    /// ESO may delete what is called absent, and nothing else.
    pub(super) fn absent(&mut self, read: Result<Map<String, Value>, EsoError>) {
        let what = "a secret that does not exist";
        match read {
            Err(EsoError::NotFound) => self.add(Mark::Right, what, "is called absent"),
            Err(EsoError::Status { status: 403, .. }) => {
                self.add(
                    Mark::Note,
                    what,
                    "is refused outside of what the policy allows, and never called absent",
                );
            }
            Ok(_) => self.missing(what, "exists"),
            Err(error) => self.missing(what, &failed(&error)),
        }
    }

    pub(super) fn list(&mut self, listed: Result<Vec<String>, EsoError>) {
        let what = "list for dataFrom.find";
        match listed {
            Ok(_) | Err(EsoError::NotFound) => self.add(Mark::Right, what, "may be read"),
            Err(EsoError::Status { status: 403, .. }) => {
                self.add(Mark::Note, what, "is refused at the top: give find a path that the policy allows");
            }
            Err(error) => self.missing(what, &failed(&error)),
        }
    }

    pub(super) fn report(self, globals: &Globals) -> Result<(), Failure> {
        let out = globals.out();
        let missing = self.0.iter().filter(|(mark, ..)| *mark == Mark::Missing).count();
        let facts: Vec<Value> = self
            .0
            .iter()
            .map(|(mark, what, how)| json!({ "state": mark.word(), "what": what, "how": how }))
            .collect();
        if out.is_json() {
            out.json(&facts)?;
        } else {
            let row = |(mark, what, how): &(Mark, String, String)| {
                vec![mark.word().to_owned(), what.clone(), how.clone()]
            };
            out.text(&columns(&self.0.iter().map(row).collect::<Vec<_>>()))?;
        }
        if missing == 0 {
            return Ok(());
        }
        Err(Failure::new(Code::Unavailable, format!("{missing} missing, see above"))
            .hint("everything else is in place; the same command again looks at all of it"))
    }
}

impl Mark {
    const fn word(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Right => "right",
            Self::Note => "note",
            Self::Missing => "MISSING",
        }
    }
}

/// What ESO would say.
pub(super) fn failed(error: &EsoError) -> String {
    match error {
        EsoError::Status { status, call } if *status == StatusCode::FORBIDDEN.as_u16() => {
            format!("{call} is refused (403)")
        }
        error => crate::failure::chain(error),
    }
}
