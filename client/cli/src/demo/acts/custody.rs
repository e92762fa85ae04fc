//! Custodians make mistakes, or worse; the ceremony says who.

use symbolon_proto::Zeroizing;
use symbolon_proto::share::{SHARE_BYTES, Share};

use super::super::estate::MOUNT;
use super::super::narrator::Narrator;
use super::super::story::{CUSTODIANS, Story, StoryError};
use super::super::world::until;
use symbolon::{Error, SecretData, Unavailable};

/// A sealed broker gets a wrong share, a foreign one and a double one, and opens all the same.
pub async fn wrong_share_names_its_custodian(
    story: &mut Story,
    told: &mut Narrator,
) -> Result<(), StoryError> {
    told.step("After a seal, a wrong share names its custodian");
    let client = story.world.client()?;
    story.root()?.seal().await?;
    told.check(client.seal_status().await?.sealed, "the broker is sealed again");

    let changed =
        |at: &[usize]| changed_share(&story.shares[1], at).ok_or(StoryError::Missing { what: "a share" });
    let text = refusal(client.unseal(&changed(&[20])?).await);
    told.say(format_args!("broker: {text}"));
    told.check(
        text.contains(CUSTODIANS[1]),
        format_args!("a share with one changed bit names {}", CUSTODIANS[1]),
    );
    let foreign = refusal(client.unseal(&changed(&[3, 20])?).await);
    told.say(format_args!("broker: {foreign}"));
    told.check(foreign.contains("foreign"), "a share of another deployment is told from a wrong one");
    let mistyped = mistyped(&story.shares[1]);
    told.check(
        Share::parse(&mistyped).is_err(),
        "a mistyped share is found before it leaves the custodian's machine",
    );

    let status = client.unseal(&story.shares[1]).await?;
    told.check(status.sealed && status.progress == 1, format_args!("{} gives the right one", CUSTODIANS[1]));
    let twice = refusal(client.unseal(&story.shares[1]).await);
    told.check(!twice.is_empty(), "the same share twice does not count twice");
    let status = client.unseal(&story.shares[2]).await?;
    told.check(!status.sealed, format_args!("{} completes the two: open", CUSTODIANS[2]));
    reads_work(story, told).await
}

/// What was written before the seal is there after it.
async fn reads_work(story: &Story, told: &mut Narrator) -> Result<(), StoryError> {
    let root = story.root()?;
    let Some((path, fields)) = story.values.iter().next() else { return Ok(()) };
    let secret = until("a read after the unseal", || async {
        match root.kv(MOUNT).get::<SecretData>(path).await {
            Err(Error::Unavailable(Unavailable::Refused(_))) => Ok(None),
            other => Ok(Some(other?)),
        }
    });
    let secret = secret.await?;
    let same = fields.iter().all(|(name, value)| secret.data.field(name) == Some(value));
    told.check(same, "what was written before reads the same");
    Ok(())
}

fn refusal<T>(answer: Result<T, Error>) -> String {
    match answer {
        Err(Error::Invalid(refusal)) => refusal.messages().join("; "),
        Err(other) => other.to_string(),
        Ok(_) => String::new(),
    }
}

/// The share with one bit changed in each byte of `at`, and a checksum that fits.
fn changed_share(text: &str, at: &[usize]) -> Option<Zeroizing<String>> {
    let share = Share::parse(text).ok()?;
    let mut bytes = Zeroizing::new([0_u8; SHARE_BYTES]);
    bytes.copy_from_slice(share.to_bytes().expose());
    at.iter().for_each(|at| bytes[*at] ^= 1);
    Some(Share::from_bytes(&bytes).ok()?.to_text())
}

/// The share with its tenth character replaced.
fn mistyped(text: &str) -> Zeroizing<String> {
    let swap = |(at, c): (usize, char)| if at == 10 { if c == 'q' { 'p' } else { 'q' } } else { c };
    Zeroizing::new(text.chars().enumerate().map(swap).collect())
}
