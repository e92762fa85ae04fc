//! `symbolon policy`: policies.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::globals::Globals;
use crate::indent;
use crate::input;
use crate::output::printable;

/// `symbolon policy`
#[derive(Subcommand)]
pub enum Policy {
    /// List names
    List,
    /// Print a policy
    Read(Named),
    /// Make or replace a policy
    Write(Write),
    /// Remove a policy
    Delete(Named),
    /// Indent a policy file and check that it parses
    Fmt(Fmt),
}

/// A policy that exists.
#[derive(Args)]
pub struct Named {
    /// Name of the policy
    name: String,
}

/// `symbolon policy write`
#[derive(Args)]
pub struct Write {
    /// Name of the policy
    name: String,
    /// File with HCL or JSON; `-` is standard input
    file: PathBuf,
}

/// `symbolon policy fmt`
#[derive(Args)]
pub struct Fmt {
    /// File with HCL; `-` reads standard input and prints the result
    file: PathBuf,
    /// Change nothing; fail if the file is not formatted
    #[arg(long)]
    check: bool,
}

impl Policy {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::List => globals.out().names(&globals.client()?.policies().list().await?),
            Self::Read(policy) => {
                let text = globals.client()?.policies().read(&policy.name).await?;
                let out = globals.out();
                if out.is_json() {
                    return out.json(&serde_json::json!({ "name": policy.name, "policy": text }));
                }
                out.line(printable(&text).trim_end())
            }
            Self::Write(policy) => {
                let text = input::file(&policy.file)?;
                globals.client()?.policies().write(&policy.name, &text).await?;
                globals.out().done("written")
            }
            Self::Delete(policy) => {
                globals.client()?.policies().delete(&policy.name).await?;
                globals.out().done("deleted")
            }
            Self::Fmt(command) => command.run(globals),
        }
    }
}

impl Fmt {
    fn run(&self, globals: &Globals) -> Result<(), Failure> {
        let text = input::file(&self.file)?;
        let name = self.file.display();
        check(&text).map_err(|error| Failure::usage(format!("{name} is not a policy")).because(&error))?;
        let formatted = indent::indent(&text);
        // The formatter must not change the meaning, nor break what parsed.
        check(&formatted)
            .map_err(|error| Failure::general("formatting would break the policy").because(&error))?;
        if self.check {
            let same = formatted == text.as_str();
            return if same { Ok(()) } else { Err(Failure::general(format!("{name} is not formatted"))) };
        }
        if self.file == std::path::Path::new("-") {
            return globals.out().document("policy", &formatted);
        }
        if formatted != text.as_str() {
            std::fs::write(&self.file, &formatted)?;
            return globals.out().done(&format!("{name}"));
        }
        Ok(())
    }
}

fn check(text: &str) -> Result<(), symbolon_core::policy::PolicyError> {
    let name = symbolon_core::path::PolicyName::parse("checked").expect("a constant name");
    symbolon_core::policy::Policy::parse(name, text).map(drop)
}
