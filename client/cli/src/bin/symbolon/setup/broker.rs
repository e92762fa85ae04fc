//! `symbolon setup broker`.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use symbolon_broker::config::Config;
use symbolon_cli::SealStatus;
use symbolon_cli::setup::Layout;
use symbolon_cli::setup::broker::{Made, Plan, SERVICE, USER};
use symbolon_cli::setup::invitation::Invitation;
use symbolon_cli::setup::names::{Address, Host};
use symbolon_cli::setup::sources::{self, Source};

use super::{Next, Place, answer, report, start, word};
use crate::failure::Failure;
use crate::globals::Format;
use crate::output::{Output, printable};

/// How long a broker on this machine may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);
const PORT: u16 = 8200;
/// Names that every certificate here has.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// After a reboot somebody has to be there, or something.
const ANOTHER: &str = "A device that lets the broker start with nobody there (a Tang server of another place, an HSM), such as http://tang.lan:7500#THUMBPRINT@site; empty for none, or no more";

/// `symbolon setup broker`
#[derive(Args)]
pub struct Broker {
    /// What `symbolon setup fragment` printed, or a file with it
    #[arg(long, value_name = "LINE|FILE")]
    invitation: Option<String>,
    /// Name or address at which clients reach this machine, for the certificate; several times for several
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// Where to listen [default: 0.0.0.0:8200]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// A device that lets the broker start with nobody there, and where it stands; several times for several:
    /// http://tang.lan:7500#THUMBPRINT@site, or /usr/lib/libhsm.so#TOKEN/KEY@office
    #[arg(long = "source", value_name = "DEVICE@PLACE")]
    sources: Vec<String>,
    #[command(flatten)]
    place: Place,
}

/// As an earlier run has left it.
struct Before {
    invitation: Option<String>,
    names: Vec<String>,
    listen: Option<SocketAddr>,
    custody: String,
    is_there: bool,
}

impl Broker {
    pub async fn run(self) -> Result<(), Failure> {
        let out = Output::new(Format::Table);
        let plan = self.plan(self.place.layout(SERVICE, USER)?)?;
        self.place.confirm(&format!(
            "A broker will be set up in {} that clients reach at {}, with the fragment service at {}.",
            plan.layout.config_dir.display(),
            plan.url(),
            plan.invitation.url()
        ))?;
        let mut made = plan.carry_out(crate::moment::now_ms() / 1000)?;
        let status = status(&plan, &made).await;
        let is_initialised = status.as_ref().is_some_and(|status| status.initialized);
        if let Some(step) = is_initialised.then(|| plan.end_of_init()).transpose()?.flatten() {
            made.steps.retain(|other| other.path != step.path);
            made.steps.push(step);
        }
        report(out, &made.steps)?;
        out.line(&format!("\nClients need {}; SHA-256 of the certificate in it:\n", made.ca.display()))?;
        out.line(&format!("  {}", made.fingerprint))?;
        if plan.is_one_box() {
            out.line("\nThe other half is on this machine as well: good for learning, and no split.")?;
        }
        next(&plan, &made, status.as_ref()).print(out)
    }

    fn plan(&self, layout: Layout) -> Result<Plan, Failure> {
        let before = Before::of(&layout);
        let given = self.invitation.as_deref().map(content).or(before.invitation);
        let invitation: Invitation = answer(
            given.as_deref(),
            "--invitation",
            "Invitation that the fragment service's operator gave you",
        )?;
        let mut names = if self.names.is_empty() { before.names } else { self.names.clone() };
        if names.is_empty() {
            let question = "Name or address at which clients reach this machine (such as broker.example)";
            names.push(crate::input::ask(question, "--name")?);
        }
        let names =
            names.iter().map(|name| answer(Some(name), "--name", "")).collect::<Result<Vec<Host>, _>>()?;
        let listen = self.listen.or(before.listen).unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], PORT)));
        let sources = self.sources(before.is_there)?;
        let custody = match sources.is_empty() {
            true => before.custody,
            false => sources::configuration(&sources, &layout.config_dir),
        };
        Ok(Plan { layout, listen, names, invitation, custody })
    }

    /// What one has; asked for once, by somebody who sits there.
    fn sources(&self, is_there: bool) -> Result<Vec<Source>, Failure> {
        let read = |line: &String| answer(Some(line), "--source", "");
        let mut sources = self.sources.iter().map(read).collect::<Result<Vec<Source>, _>>()?;
        let is_asked = self.sources.is_empty() && !is_there && !self.place.yes;
        while is_asked && std::io::stdin().is_terminal() {
            let line = crate::input::ask(ANOTHER, "--source")?;
            match line.parse() {
                _ if line.is_empty() => break,
                Ok(source) => sources.push(source),
                Err(error) => Output::note(&format!("{error}")),
            }
        }
        Ok(sources)
    }
}

impl Before {
    fn of(layout: &Layout) -> Self {
        let config = Config::load(&layout.config("broker.toml")).ok();
        let text = std::fs::read_to_string(layout.config("broker.toml")).ok();
        let node = config.as_ref().and_then(|config| config.remote.nodes.first());
        let certificate = std::fs::read(layout.config("tls.crt")).ok();
        let facts = certificate.and_then(|pem| symbolon_net::certificate::first_facts(&pem));
        // The first name is the one in the issuer; the certificate has all of them.
        let first = config.as_ref().map(Config::issuer).and_then(|issuer| host(&issuer));
        let mut names: Vec<String> = first.into_iter().collect();
        let others = facts.map(|facts| facts.names).unwrap_or_default();
        names.extend(
            others
                .into_iter()
                .filter(|name| !LOCAL.contains(&name.as_str()) && !names.contains(name))
                .collect::<Vec<_>>(),
        );
        Self {
            invitation: node.map(|node| format!("{}#{}", node.url, node.fingerprint)),
            names,
            listen: config.as_ref().map(|config| config.listen),
            is_there: config.is_some(),
            custody: text.as_deref().and_then(sources::kept).unwrap_or_default().to_owned(),
        }
    }
}

/// The host of an issuer that we wrote.
fn host(issuer: &str) -> Option<String> {
    let address: Address = issuer.strip_prefix("https://")?.parse().ok()?;
    Some(address.host.to_string())
}

/// The line itself, or what is in the file of this name.
fn content(given: &str) -> String {
    if given.contains('#') {
        given.to_owned()
    } else {
        std::fs::read_to_string(given).unwrap_or_else(|_| given.to_owned())
    }
}

/// How it is, if it runs.
async fn status(plan: &Plan, made: &Made) -> Option<SealStatus> {
    let client =
        symbolon::Client::builder(&plan.local_url()).ca_file(&made.ca).timeout(PATIENCE).build().ok()?;
    symbolon_cli::Operator::from(client).seal_status().await.ok()
}

/// Who holds the shares: three people; or two, and the devices that were named.
fn init(plan: &Plan) -> Vec<(&'static str, String)> {
    if plan.custody.is_empty() {
        let init = "symbolon operator init --shares 3 --threshold 2 --recovery none    # docs/recovery.md has the other choice";
        return vec![("here: make the deployment; three custodians, any two open it", init.to_owned())];
    }
    let named = plan.custody.lines().filter_map(|line| line.strip_prefix("name = "));
    let sources: String = named.map(|name| format!(" --source {}", name.trim_matches('"'))).collect();
    let init = format!(
        "symbolon operator init --threshold 2 --card ana.card --card boris.card{sources} --envelopes ./envelopes --recovery none"
    );
    vec![
        (
            "each of two custodians",
            "symbolon custodian keygen --name NAME --out NAME.key    # and bring NAME.card".to_owned(),
        ),
        ("here: make the deployment; any two of the people and devices open it", init),
    ]
}

fn next(plan: &Plan, made: &Made, status: Option<&SealStatus>) -> Next {
    let mut next = Vec::new();
    let environment = format!("export SYMBOLON_ADDR={} SYMBOLON_CACERT={}", plan.url(), word(&made.ca));
    if status.is_none() {
        let by_hand = format!("symbolon broker --config {}", word(&plan.layout.config("broker.toml")));
        next.push(("here: start it", start(&plan.layout, SERVICE, &by_hand)));
    }
    next.push(("here, and wherever this command line is used (copy the file there)", environment));
    if status.is_none_or(|status| !status.initialized) {
        next.extend(init(plan));
        next.push((
            "the fragment service's operator, to whom you read what init shows",
            "symbolon fragment approve FINGERPRINT".to_owned(),
        ));
    }
    if status.is_none_or(|status| status.sealed) {
        next.push(("each of two custodians", "symbolon operator unseal".to_owned()));
    } else if let Some(left) =
        status.and_then(|status| status.fact("degraded")).filter(|left| !left.is_empty())
    {
        next.push((
            "the fragment service's operator: the broker has no lease",
            format!("symbolon fragment status    # {}", printable(&left)),
        ));
    }
    next.push(("here, with the root token that init printed", "symbolon login token".to_owned()));
    next.push((
        "here: what the External Secrets Operator needs, and whether it works",
        "symbolon eso setup".to_owned(),
    ));
    Next(next)
}
