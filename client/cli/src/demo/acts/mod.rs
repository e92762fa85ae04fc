//! The acts, in order.

pub mod custody;
pub mod ending;
pub mod homelab;
pub mod identity;
pub mod kill_switch;
pub mod log;
pub mod opening;

use super::narrator::Narrator;
use super::story::{Story, StoryError};

/// Tells the whole story. True if everything held.
pub async fn tell(narrator: &mut Narrator) -> bool {
    narrator.remark(
        "Everything below happens now, in this process: real sockets, TLS, loopback, a temporary directory.",
    );
    if let Err(error) = tell_it(narrator).await {
        narrator.fail(&error);
    }
    narrator.finish()
}

async fn tell_it(narrator: &mut Narrator) -> Result<(), StoryError> {
    let mut story = Story::new()?;
    opening::fragment_service_starts(&mut story, narrator).await?;
    opening::broker_is_initialised(&mut story, narrator).await?;
    opening::two_custodians_unseal(&mut story, narrator).await?;
    homelab::workload_is_written(&mut story, narrator).await?;
    homelab::eso_fetches_everything(&mut story, narrator).await?;
    custody::wrong_share_names_its_custodian(&mut story, narrator).await?;
    identity::workload_token_is_verified(&mut story, narrator).await?;
    log::audit_log_is_verified(&mut story, narrator).await?;
    kill_switch::remote_is_suspended(&mut story, narrator).await?;
    kill_switch::remote_is_resumed(&mut story, narrator).await?;
    kill_switch::remote_goes_silent(&mut story, narrator).await?;
    ending::sealed_memory_holds_no_key(&mut story, narrator).await?;
    story.world.stop_broker().await?;
    Ok(story.world.stop_fragment().await?)
}
