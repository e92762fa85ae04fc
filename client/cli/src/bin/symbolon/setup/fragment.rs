//! `symbolon setup fragment`.

use std::net::SocketAddr;

use clap::Args;
use symbolon_cli::setup::Layout;
use symbolon_cli::setup::fragment::{Made, Plan, SERVICE};
use symbolon_cli::setup::invitation::Invitation;
use symbolon_kms_fragment::admin::{Ask, Reply, ask};
use symbolon_kms_fragment::config::Config;
use symbolon_kms_fragment::report::Status;

use super::{Next, Place, answer, report, start, word};
use crate::failure::Failure;
use crate::globals::Format;
use crate::output::Output;

/// `symbolon setup fragment`
#[derive(Args)]
pub struct Fragment {
    /// Name or address, with port, at which brokers reach this machine, such as nas.example:8300
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Where to listen [default: every address of this machine, on the port of --address]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    place: Place,
}

impl Fragment {
    pub async fn run(self) -> Result<(), Failure> {
        let out = Output::new(Format::Table);
        let layout = self.place.layout(SERVICE, SERVICE)?;
        let plan = self.plan(layout)?;
        self.place.confirm(&format!(
            "A fragment service will be set up in {}, for brokers that reach it at {}.",
            plan.layout.config_dir.display(),
            plan.address
        ))?;
        let made = plan.carry_out().await?;
        report(out, &made.steps)?;
        out.line("\nInvitation for the operator of the broker. Nothing in it is secret, but whoever could change it on its way")?;
        out.line("could put a service of theirs in this one's place: read them the digits over a channel that you both trust.\n")?;
        out.line(&format!("  {}", made.invitation))?;
        next(&plan, &made, status(&plan).await.as_ref()).print(out)
    }

    fn plan(&self, layout: Layout) -> Result<Plan, Failure> {
        let before = std::fs::read_to_string(layout.config("invitation")).ok();
        let before =
            before.and_then(|text| text.parse::<Invitation>().ok()).map(|found| found.address.to_string());
        let given = self.address.clone().or(before);
        let question =
            "Name or address, with port, at which brokers reach this machine (such as nas.example:8300)";
        let address: symbolon_cli::setup::names::Address = answer(given.as_deref(), "--address", question)?;
        let before = Config::load(&layout.config("fragment.toml")).ok().map(|config| config.listen);
        let usual = || SocketAddr::from(([0, 0, 0, 0], address.port));
        let listen = self.listen.or(before).unwrap_or_else(usual);
        Ok(Plan { layout, listen, address })
    }
}

/// How it is, if it runs.
async fn status(plan: &Plan) -> Option<Status> {
    match ask(&plan.layout.state_dir, &Ask::Status).await {
        Ok(Reply::Status(status)) => Some(*status),
        _ => None,
    }
}

fn next(plan: &Plan, made: &Made, status: Option<&Status>) -> Next {
    let config = word(&plan.layout.config("fragment.toml"));
    let mut next = Vec::new();
    if status.is_none() {
        let by_hand = format!("symbolon fragment serve --config {config}");
        next.push(("here: start it", start(&plan.layout, SERVICE, &by_hand)));
    }
    if status.is_none_or(|status| status.brokers.is_empty()) {
        let setup = format!("symbolon setup broker --invitation '{}'", made.invitation);
        next.push(("the broker's operator", setup));
        let approve = format!("symbolon fragment approve --config {config} FINGERPRINT");
        next.push((
            "here, when they read a fingerprint to you that their `symbolon operator init` shows",
            approve,
        ));
    } else {
        next.push(("here, to see it at work", format!("symbolon fragment status --config {config}")));
        next.push((
            "here, to stop every broker",
            format!("symbolon fragment suspend --config {config} --all"),
        ));
    }
    Next(next)
}
