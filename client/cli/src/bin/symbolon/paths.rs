//! `symbolon read`, `write`, `list` and `delete`: any path of the API, as `vault` and `bao` have them.

use std::io::Write as _;

use clap::Args;
use serde_json::{Map, Value};
use symbolon::{Answer, Method};

use crate::failure::Failure;
use crate::fields::{self, FIELDS_HELP};
use crate::globals::Globals;
use crate::output::SecretOutput;

/// A path of the API.
#[derive(Args)]
pub struct ApiPath {
    /// Path below /v1/, such as sys/mounts or auth/kubernetes/role/eso
    path: String,
}

/// `symbolon read`
#[derive(Args)]
pub struct Read {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    place: ApiPath,
    /// Parameters of the request
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
}

/// `symbolon write`
#[derive(Args)]
#[command(after_help = FIELDS_HELP)]
pub struct Write {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    place: ApiPath,
    /// What to write
    #[arg(required_unless_present = "force", value_name = "FIELD")]
    fields: Vec<String>,
    /// Write although there are no fields
    #[arg(long, short)]
    force: bool,
}

/// `symbolon list`
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    place: ApiPath,
}

/// `symbolon delete`
#[derive(Args)]
pub struct Delete {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    place: ApiPath,
}

impl ApiPath {
    /// Without the prefix that people copy from addresses.
    fn as_str(&self) -> &str {
        let path = self.path.trim_start_matches('/');
        path.strip_prefix("v1/").unwrap_or(path)
    }
}

impl Read {
    pub async fn run(self) -> Result<(), Failure> {
        let out = self.globals.out().for_secrets()?;
        let parameters = crate::input::pairs(&self.parameters, "a parameter")?;
        let client = self.globals.client()?;
        let mut call = client.call(Method::GET, self.place.as_str());
        for (name, value) in &parameters {
            call = call.query(name, value);
        }
        show(out, &call.send().await?, "read")
    }
}

impl Write {
    pub async fn run(self) -> Result<(), Failure> {
        let out = self.globals.out().for_secrets()?;
        let fields = fields::read(&self.fields)?;
        let client = self.globals.client()?;
        let answer = client.call(Method::PUT, self.place.as_str()).json(&fields).send().await?;
        show(out, &answer, "written")
    }
}

impl List {
    pub async fn run(self) -> Result<(), Failure> {
        self.globals.out().names(&names(&self.globals, self.place.as_str()).await?)
    }
}

/// Names below a path.
pub async fn names(globals: &Globals, path: &str) -> Result<Vec<String>, Failure> {
    let client = globals.client()?;
    let answer = client.call(Method::GET, path).query("list", "true").send().await?;
    warn(&answer)?;
    let data: Map<String, Value> = answer.data("a list")?;
    let names = data.get("keys").and_then(|keys| serde_json::from_value(keys.clone()).ok());
    names.ok_or_else(|| {
        Failure::general("the answer lists no names").hint("this path is read, not listed: `symbolon read`")
    })
}

impl Delete {
    pub async fn run(self) -> Result<(), Failure> {
        let out = self.globals.out().for_secrets()?; // said before anything is done
        let client = self.globals.client()?;
        let answer = client.call(Method::DELETE, self.place.as_str()).send().await?;
        show(out, &answer, "deleted")
    }
}

/// Prints the whole answer for programs, and what it is about for people.
pub fn show(out: SecretOutput, answer: &Answer, done: &str) -> Result<(), Failure> {
    warn(answer)?;
    if answer.body().is_empty() {
        return out.done(done);
    }
    let whole: Value = answer.raw("JSON")?;
    let object = |name: &str| whole.get(name).filter(|part| part.is_object());
    let about = object("auth").or_else(|| object("wrap_info")).or_else(|| object("data"));
    let is_envelope = whole.get("data").is_some() || whole.get("auth").is_some();
    let shown = match about {
        Some(part) => part,
        None if is_envelope => return if out.is_json() { out.json(&whole) } else { out.done(done) },
        None => &whole,
    };
    out.about(&whole, shown)
}

/// Says what the broker thinks of the request.
pub fn warn(answer: &Answer) -> Result<(), Failure> {
    let mut stderr = std::io::stderr().lock();
    Ok(answer.warnings().iter().try_for_each(|warning| writeln!(stderr, "warning: {warning}"))?)
}
