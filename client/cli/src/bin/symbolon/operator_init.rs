//! `symbolon operator init`: the one command whose answer exists once.
//!
//! Whatever the answer needs is made before the question: room for envelopes is there. What cannot be written
//! afterwards all the same goes to the terminal, all of it. Only then is the answer confirmed, which puts it
//! in force, and envelopes get their names: what fails before is put right by the same command again.

use std::convert::Infallible;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use symbolon_cli::{InitAnswer, InitRequest, Operator, SealStatus};
use symbolon_proto::Zeroizing;
use symbolon_proto::custody::Parcel;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cards::{self, card_text};
use crate::envelopes::{self, Envelopes};
use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;
use crate::output::{columns, printable};

/// Init waits until the operator of the fragment service has compared fingerprints and approved the broker.
const INIT_TIMEOUT: Duration = Duration::from_secs(900);

/// How often an answer is confirmed that the broker does not seem to hear, a second apart.
const CONFIRMATIONS: u32 = 20;

/// `symbolon operator init`
#[derive(Args)]
pub struct Init {
    /// Shares to make, 2 to 16
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=16))]
    shares: Option<u8>,
    /// Shares needed to unseal, 2 to the number of shares
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=16))]
    threshold: Option<u8>,
    /// Name of a custodian whose share is shown once; give it once per share
    #[arg(long = "custodian", value_name = "NAME")]
    custodians: Vec<String>,
    /// Card of a custodian, instead of names; give it once per share. No share is shown then
    #[arg(long = "card", value_name = "FILE", conflicts_with_all = ["custodians", "shares"], requires = "envelopes")]
    cards: Vec<PathBuf>,
    /// A source of the broker's configuration that holds a share beside the cards; give it once per source
    #[arg(long = "source", value_name = "NAME", requires = "cards")]
    sources: Vec<String>,
    /// Their owners have read the fingerprints of these cards to you
    #[arg(long, requires = "cards")]
    yes: bool,
    /// Folder for the share envelopes, one new file per card
    #[arg(long, value_name = "DIR", requires = "cards")]
    envelopes: Option<PathBuf>,
    /// What happens if the fragment service is lost for good. none: all data is lost with it
    #[arg(long, value_parser = ["none", "customer-escrow"])]
    recovery: String,
}

impl Init {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let is_json = globals.out().whole()?.is_json();
        let request = self.request()?;
        if !self.cards.is_empty() && !self.yes {
            cards::compare("New shares are sealed to these cards", &request.cards)?;
        }
        let client = globals.anonymous_within(INIT_TIMEOUT)?;
        self.check_new(&client).await?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut envelopes =
            self.envelopes.as_ref().map(|to| Envelopes::promise(to, self.cards.len())).transpose()?;
        let answer = tokio::select! {
            answer = self.ask(&client, &request) => answer?,
            never = announce(&client) => match never {},
            // Ends here and not by the signal, so that promised files go again.
            _ = interrupt.recv() => return Err(interrupted()),
        };
        let (shares, failed) = Shares::of(&request, &answer, envelopes.as_mut());
        let shown = shown_once(&if is_json {
            as_json(&shares, &request, &answer)
        } else {
            as_text(&shares, &request, &answer)
        });
        let confirmed = match shown {
            Err(Shown::Nowhere(_)) => Err(Unconfirmed::Void),
            _ => confirm(&client, &answer, &mut interrupt).await,
        };
        let settled = settle(confirmed, envelopes);
        shown?;
        settled?;
        failed.map_or(Ok(()), Err)
    }

    async fn check_new(&self, client: &Operator) -> Result<SealStatus, Failure> {
        let status = client.seal_status().await?;
        if !status.initialized {
            return Ok(status);
        }
        let left = self.envelopes.as_deref().map(envelopes::left_behind).unwrap_or_default();
        let hint = match left.as_slice() {
            [] => "unseal it with `symbolon operator unseal`; a new deployment needs a new store".to_owned(),
            files => format!(
                "an init was interrupted while the broker put it in force, perhaps this one. If a share out of these files is accepted, they are good: take `.unconfirmed` off their names:{}",
                envelopes::listed(files)
            ),
        };
        Err(Failure::general("this broker is already initialised").hint(hint))
    }

    /// Asks, after the time that the broker gives to whoever has an answer already.
    async fn ask(&self, client: &Operator, request: &InitRequest) -> Result<InitAnswer, Failure> {
        for second in 0..INIT_TIMEOUT.as_secs() {
            let status = self.check_new(client).await?;
            let left = status.more.get("unconfirmed_left_secs").and_then(Value::as_u64).unwrap_or(0);
            if left == 0 {
                break;
            }
            if second == 0 {
                // nobody to tell if it is closed
                let _ = writeln!(
                    std::io::stderr().lock(),
                    "The broker has answered an init that is not confirmed, and begins no other for {left} s. Waiting."
                );
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        client.init(request).await.map_err(lost)
    }

    fn request(&self) -> Result<InitRequest, Failure> {
        let cards = self.cards.iter().map(|path| card_text(path)).collect::<Result<Vec<_>, _>>()?;
        let of_cards = u8::try_from(if cards.is_empty() { 0 } else { cards.len() + self.sources.len() })
            .ok()
            .filter(|cards| *cards > 0);
        let shares = number(self.shares.or(of_cards), "How many shares", "--shares")?;
        let threshold = number(self.threshold, "How many of them open the broker", "--threshold")?;
        if !(2..=16).contains(&shares) || !(2..=shares).contains(&threshold) {
            return Err(Failure::usage(format!("{threshold} of {shares} is no threshold"))
                .hint("use 2 to 16 shares, and a threshold from 2 to the number of shares, such as 2 of 3"));
        }
        let mut custodians = self.custodians.clone();
        while cards.is_empty() && custodians.len() < usize::from(shares) {
            let question = format!("Name of custodian {}", custodians.len() + 1);
            custodians.push(input::ask(&question, "--custodian, once per share,")?);
        }
        if custodians.len() > usize::from(shares) {
            let message = format!("{} custodians are named, but there are {shares} shares", custodians.len());
            return Err(Failure::usage(message).hint("one custodian holds one share"));
        }
        Ok(InitRequest {
            secret_shares: shares,
            secret_threshold: threshold,
            custodians,
            cards,
            sources: self.sources.clone(),
            recovery: self.recovery.clone(),
            await_receipt: true,
        })
    }
}

/// Says what the operator of the fragment service must be told, as soon as the broker waits for that. Never
/// ends and never fails: giving up here would lose the shares that `init` is about to answer with.
async fn announce(client: &Operator) -> Infallible {
    let mut announced = String::new();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let Ok(status) = client.seal_status().await else { continue };
        // First the broker or its group, then the escrow key if there is one.
        let wish = status.fact("enrolling").filter(|text| !text.is_empty() && *text != announced);
        if let Some(fingerprint) = wish {
            let text = format!(
                "Waiting for the operator of every fragment service. Read this fingerprint to them:\n\n  \
                 {fingerprint}\n\nThey compare it and run: symbolon fragment approve <fingerprint>\n"
            );
            announced = fingerprint;
            // nobody to tell if it is closed
            let _ = writeln!(std::io::stderr().lock(), "{}", printable(&text));
        }
    }
}

fn number(given: Option<u8>, question: &str, option: &str) -> Result<u8, Failure> {
    match given {
        Some(number) => Ok(number),
        None => input::ask(question, option)?.parse().map_err(|_| {
            Failure::usage("that is not a number").hint("shares: 2 to 16, such as 3; threshold: such as 2")
        }),
    }
}

/// Why the broker has not said that an answer is in force.
enum Unconfirmed {
    /// It never will be.
    Void,
    /// It may be.
    Unknown(Failure),
}

/// Says that everything is in hand, until the broker has heard it or somebody has enough.
async fn confirm(client: &Operator, answer: &InitAnswer, interrupt: &mut Signal) -> Result<(), Unconfirmed> {
    let error = tokio::select! {
        told = tell(client, answer) => match told {
            Ok(()) => return Ok(()),
            Err(error) => error,
        },
        _ = interrupt.recv() => return Err(Unconfirmed::Unknown(Failure::general("interrupted"))),
    };
    let is_refused = matches!(error, symbolon::Error::Invalid(_));
    if is_refused && client.seal_status().await.is_ok_and(|status| !status.initialized) {
        return Err(Unconfirmed::Void);
    }
    let failure = Failure::general("the broker did not say that what is shown above is in force");
    Err(Unconfirmed::Unknown(failure.because(&error)))
}

/// A broker of an earlier version awaits nothing.
async fn tell(client: &Operator, answer: &InitAnswer) -> Result<(), symbolon::Error> {
    let receipt = answer.receipt();
    let mut tries = if answer.receipt_awaited { CONFIRMATIONS } else { 0 };
    while tries > 0 {
        tries -= 1;
        match client.confirm_init(&receipt).await {
            Ok(()) => break,
            Err(symbolon::Error::Unavailable(_)) if tries > 0 => {
                tokio::time::sleep(Duration::from_secs(1)).await
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Envelopes get their names, or go if they are certainly worth nothing.
fn settle(confirmed: Result<(), Unconfirmed>, envelopes: Option<Envelopes>) -> Result<(), Failure> {
    match confirmed {
        Ok(()) => envelopes.map_or(Ok(()), Envelopes::confirmed),
        Err(Unconfirmed::Void) => {
            envelopes.map_or(Ok(()), |worthless| worthless.remove())?;
            Err(again(Failure::general(
                "the broker does not wait for this answer any more: what is shown above is worth nothing",
            )))
        }
        Err(Unconfirmed::Unknown(failure)) => {
            let left = envelopes.map(|envelopes| envelopes.unconfirmed()).unwrap_or_default();
            Err(failure.hint(unknown(&left)))
        }
    }
}

/// What to do if nobody knows whether an answer counts.
fn unknown(left: &[PathBuf]) -> String {
    let files = match left {
        [] => String::new(),
        left => format!(
            "; the envelopes are these, take `.unconfirmed` off their names then:{}",
            envelopes::listed(left)
        ),
    };
    format!(
        "`symbolon operator status` tells: if it is not initialised, all of it is worth nothing, and the same command again makes everything anew; \
         if it is, keep what you have and give a share{files}"
    )
}

/// Whether or not the broker has made anything, it waits for a receipt that never comes.
fn lost(error: symbolon::Error) -> Failure {
    use symbolon::Error::{Foreign, TooLarge, Unavailable};
    let is_lost = matches!(error, Unavailable(_) | Foreign { .. } | TooLarge { .. });
    if is_lost { again(error.into()) } else { error.into() }
}

/// Adds what a lost answer means.
fn again(failure: Failure) -> Failure {
    failure.hint("nothing is in force before this command has shown everything: run it again")
}

fn interrupted() -> Failure {
    again(Failure::general("interrupted"))
}

/// Who has which share: its text, the file of its envelope, or the envelope itself where that file failed.
struct Shares(Vec<Holding>);

struct Holding {
    name: String,
    /// What JSON calls it.
    kind: &'static str,
    value: Zeroizing<String>,
}

impl Shares {
    /// With what went wrong: no share is left out because of it.
    fn of(
        request: &InitRequest,
        answer: &InitAnswer,
        envelopes: Option<&mut Envelopes>,
    ) -> (Self, Option<Failure>) {
        let Some(envelopes) = envelopes else { return Self::shown(request, answer) };
        let (mut held, mut failed) = (Vec::new(), None);
        for text in &answer.parcels {
            let (holding, failure) = delivered(text, envelopes);
            held.push(holding);
            failed = failed.or(failure);
        }
        (Self(held), failed)
    }

    fn shown(request: &InitRequest, answer: &InitAnswer) -> (Self, Option<Failure>) {
        let (texts, failed) = match answer.shares_text() {
            Ok(texts) => (texts, None),
            Err(error) => {
                let failed = Failure::integrity("the broker sent a broken share").because(&error);
                (
                    answer.keys.iter().map(|key| Zeroizing::new(key.expose().to_owned())).collect(),
                    Some(failed),
                )
            }
        };
        let names =
            request.custodians.iter().map(|name| printable(name)).chain(std::iter::repeat(String::new()));
        let held = names.zip(texts).map(|(name, value)| Holding { name, kind: "share", value });
        (Self(held.collect()), failed)
    }
}

/// Puts an envelope into its file.
fn delivered(text: &str, envelopes: &mut Envelopes) -> (Holding, Option<Failure>) {
    let name = Parcel::parse(text).map(|parcel| printable(parcel.holder()));
    let holding =
        |name: &str, value: String| Holding { name: name.to_owned(), kind: "envelope", value: value.into() };
    let written = match &name {
        Ok(_) => envelopes.write(text),
        Err(error) => Err(Failure::integrity("the broker sent a broken envelope").because(error)),
    };
    let name = name.unwrap_or_default();
    match written {
        Ok(path) => (holding(&name, path.display().to_string()), None),
        Err(failure) => (holding(&name, text.to_owned()), Some(failure)),
    }
}

fn as_json(shares: &Shares, request: &InitRequest, answer: &InitAnswer) -> Zeroizing<String> {
    let kind = shares.0.first().map_or("share", |holding| holding.kind);
    let named: Vec<Value> = shares
        .0
        .iter()
        .map(|held| json!({ "custodian": held.name, held.kind: held.value.as_str() }))
        .collect();
    let whole = json!({
        format!("{kind}s"): named,
        "threshold": request.secret_threshold,
        "root_token": answer.root_token.expose(),
        "log_key": answer.log_key,
    });
    Zeroizing::new(format!("{whole:#}\n"))
}

fn as_text(shares: &Shares, request: &InitRequest, answer: &InitAnswer) -> Zeroizing<String> {
    let sealed = shares.0.iter().any(|held| held.kind == "envelope");
    let rows: Vec<Vec<String>> =
        shares.0.iter().map(|held| vec![held.name.clone(), held.value.to_string()]).collect();
    let mut text = Zeroizing::new(String::new());
    text.push_str(match sealed {
        true => "Share envelopes. Give each to its custodian; nobody else can open it:\n\n",
        false => "Shares. Give each to its custodian and to nobody else; they are not shown again:\n\n",
    });
    text.push_str(&columns(&rows));
    text.push_str(&format!("\nRoot token:  {}\n", answer.root_token.expose()));
    if !answer.log_key.is_empty() {
        text.push_str(&format!("Log key:     {}\n", answer.log_key));
        text.push_str("             (keep it off this machine: `symbolon audit verify --key` needs it)\n");
    }
    let (needed, of) = (request.secret_threshold, request.secret_shares);
    let command = if sealed { "symbolon custodian submit" } else { "symbolon operator unseal" };
    text.push_str(&format!("\n{needed} of {of} custodians open the broker: {command}\n"));
    if sealed {
        text.push_str("Have everybody give their share once, in a drill: symbolon ceremony begin drill\n");
    }
    text
}

/// Why the answer is not on standard output.
enum Shown {
    /// It is on the terminal.
    Elsewhere(Failure),
    Nowhere(Failure),
}

impl From<Shown> for Failure {
    fn from(shown: Shown) -> Self {
        let (Shown::Elsewhere(failure) | Shown::Nowhere(failure)) = shown;
        failure
    }
}

/// Standard output, or the terminal if that is closed or full: the answer exists once.
fn shown_once(text: &str) -> Result<(), Shown> {
    let mut out = std::io::stdout().lock();
    let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else { return Ok(()) };
    let failed = |text: &str| Failure::general(text).because(&error);
    let mut terminal = std::io::stderr().lock();
    match terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush()) {
        Ok(()) => {
            let text = "standard output could not be written; the shares and the root token are above";
            Err(Shown::Elsewhere(failed(text)))
        }
        Err(_) => Err(Shown::Nowhere(again(failed("the answer could be shown nowhere")))),
    }
}
