//! `symbolon operator root`: a root token that custodians make when every other token is lost.
//!
//! ```text
//! begin ──card's signature──▶ ceremony of type root ──shares: custodian submit──▶ token, sealed to the card
//! finish ──card's signature──▶ opened here, printed, and then forgotten by the broker
//! ```

use std::io::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use symbolon::Error;
use symbolon_cli::{Operator, RootTerms, WaitingToken};
use symbolon_core::token::duration;
use symbolon_proto::Zeroizing;
use symbolon_proto::custody::{
    KeyKind, KeyPair, ROOT_TTL_SECS_DEFAULT, ROOT_TTL_SECS_MAX, ROOT_TTL_SECS_MIN, ROOT_WINDOW_MS, RootAsk,
    RootNonce, SignedRootRequest,
};

use crate::ceremony::print_once;
use crate::failure::Failure;
use crate::globals::Globals;
use crate::key_file::{Opening, os_rng};
use crate::moment::now_ms;
use crate::output::{Output, columns, printable};

/// Time between two looks at a ceremony that is waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// `symbolon operator root`
#[derive(Subcommand)]
pub enum Root {
    /// Ask for a root token with your custodian's card; it is made when enough custodians give their shares
    Begin(Begin),
    /// Fetch the root token that was made for your card, and print it
    Finish(Own),
    /// Give up the ceremony that your card has begun
    Cancel(Own),
}

/// `symbolon operator root begin`
#[derive(Args)]
pub struct Begin {
    #[command(flatten)]
    opening: Opening,
    /// Life of the token, from 10m to 24h [default: 4h]
    #[arg(long, value_name = "DURATION", value_parser = life)]
    ttl: Option<u32>,
    /// Wait until enough shares are given, then print the token
    #[arg(long)]
    wait: bool,
}

/// `symbolon operator root finish`, `symbolon operator root cancel`
#[derive(Args)]
pub struct Own {
    #[command(flatten)]
    opening: Opening,
}

impl Root {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = globals.anonymous()?;
        match self {
            Self::Begin(command) => command.run(globals, &client).await,
            Self::Finish(own) => {
                terms(&client).await?; // before the passphrase: a sealed broker has no token
                finish(globals.out(), &client, &own.opening.open(KeyKind::Custodian)?).await
            }
            Self::Cancel(own) => cancel(globals, &client, &own.opening).await,
        }
    }
}

impl Begin {
    async fn run(&self, globals: &Globals, client: &Operator) -> Result<(), Failure> {
        terms(client).await?;
        let keys = self.opening.open(KeyKind::Custodian)?;
        let ask = RootAsk::begin(self.ttl.unwrap_or(ROOT_TTL_SECS_DEFAULT), &mut os_rng());
        let RootAsk::Begin { nonce, .. } = ask else { return Err(no_custodian()) };
        // The passphrase may have taken its time: what is signed is the broker's state of now.
        let begun = client.ask_for_root(&signed(ask, &terms(client).await?, &keys)?).await?;
        if !self.wait {
            print_once(globals.out(), begun.ceremony.as_ref())?;
            return globals.out().done(
                "Tell the other custodians why, and read the fingerprint on the broker's console to them:\n\
                 each runs `symbolon custodian submit`. Then: symbolon operator root finish --key FILE",
            );
        }
        // On standard error: standard output is for the token.
        let fingerprint = begun.ceremony.and_then(|ceremony| ceremony.fingerprint).unwrap_or_default();
        let text = format!("Ceremony key  {fingerprint}\nWaiting for shares: symbolon custodian submit");
        writeln!(std::io::stderr().lock(), "{}", printable(&text))?;
        wait_for_shares(client, nonce).await?;
        finish(globals.out(), client, &keys).await
    }
}

/// Until the ceremony of our request collects no more.
async fn wait_for_shares(client: &Operator, nonce: RootNonce) -> Result<(), Failure> {
    loop {
        let ceremony = client.ceremony().await?.filter(|ceremony| ceremony.stage == "collecting");
        let wish = ceremony.and_then(|ceremony| ceremony.root);
        if wish.map(|wish| wish.nonce()).transpose()? != Some(nonce) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The broker keeps the token until it knows that it was printed.
async fn finish(out: Output, client: &Operator, keys: &KeyPair) -> Result<(), Failure> {
    let out = out.whole()?;
    let fetch = signed(RootAsk::Fetch, &terms(client).await?, keys)?;
    let waiting = client.ask_for_root(&fetch).await?.token;
    let waiting = waiting.ok_or_else(|| Failure::integrity("the broker answered without a token"))?;
    let token =
        waiting.sealed.open(&waiting.request, keys).map_err(|error| Failure::integrity(error.to_string()))?;
    show(out, &waiting, &token)?;
    let RootAsk::Begin { nonce, .. } = waiting.request.request().ask else { return Ok(()) };
    if let Err(error) = received(client, keys, nonce).await {
        writeln!(std::io::stderr().lock(), "the broker keeps the sealed token for now: {error}")?;
    }
    Ok(())
}

async fn received(client: &Operator, keys: &KeyPair, nonce: RootNonce) -> Result<(), Error> {
    let terms = client.root_terms().await?;
    let ask = RootAsk::Received { nonce };
    let Some(request) = SignedRootRequest::sign(ask, terms.scope, now_ms(), keys) else { return Ok(()) };
    client.ask_for_root(&request).await.map(drop)
}

/// A token that could not be printed is not lost: the broker still has it.
fn show(out: Output, waiting: &WaitingToken, token: &str) -> Result<(), Failure> {
    let text = Zeroizing::new(match out.is_json() {
        true => {
            let value = json!({ "token": token, "accessor": waiting.accessor, "ends": waiting.ends });
            format!("{value:#}\n")
        }
        false => {
            let facts = [("token", token), ("accessor", &waiting.accessor), ("ends", &waiting.ends)];
            let rows: Vec<_> =
                facts.iter().map(|(name, fact)| vec![(*name).to_owned(), printable(fact)]).collect();
            columns(&rows)
        }
    });
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
        Failure::general("the token could not be printed")
            .because(&error)
            .hint("it is not lost: run `symbolon operator root finish` again")
    })
}

async fn cancel(globals: &Globals, client: &Operator, opening: &Opening) -> Result<(), Failure> {
    let none = || Failure::unavailable("no ceremony for a root token is under way");
    let collecting = client.ceremony().await?.filter(|ceremony| ceremony.stage == "collecting");
    let wish = collecting.and_then(|ceremony| ceremony.root).ok_or_else(none)?;
    let ask = RootAsk::Cancel { nonce: wish.nonce()? };
    let keys = opening.open(KeyKind::Custodian)?;
    client.ask_for_root(&signed(ask, &terms(client).await?, &keys)?).await?;
    globals.out().done("given up: no token was made")
}

/// What the broker's state is, and whether anything can be signed for it from here.
async fn terms(client: &Operator) -> Result<RootTerms, Failure> {
    let terms = client.root_terms().await.map_err(|error| match error {
        Error::Denied(_) | Error::Foreign { .. } => {
            Failure::general("this broker makes no root tokens from shares: it is older than this command")
        }
        other => other.into(),
    })?;
    if !terms.has_cards {
        return Err(Failure::usage("no custodian of this deployment has a card: its shares are texts").hint(
            "nobody can ask for a root token then; reshare to cards (`symbolon ceremony begin reshare`) while there is a token",
        ));
    }
    let apart = terms.at_ms.abs_diff(now_ms());
    if apart > ROOT_WINDOW_MS {
        let message = format!("this machine's clock and the broker's are {} seconds apart", apart / 1000);
        return Err(Failure::usage(message).hint("set the one that is wrong; five minutes are allowed"));
    }
    Ok(terms)
}

fn signed(ask: RootAsk, terms: &RootTerms, keys: &KeyPair) -> Result<SignedRootRequest, Failure> {
    SignedRootRequest::sign(ask, terms.scope, now_ms(), keys).ok_or_else(no_custodian)
}

fn no_custodian() -> Failure {
    Failure::usage("only a custodian's key file signs requests for a root token")
}

fn life(text: &str) -> Result<u32, String> {
    let secs = duration::parse_secs(text).map_err(|error| error.to_string())?;
    match u32::try_from(secs) {
        Ok(secs) if (ROOT_TTL_SECS_MIN..=ROOT_TTL_SECS_MAX).contains(&secs) => Ok(secs),
        _ => Err("a root token of a ceremony lives for 10m to 24h".to_owned()),
    }
}
