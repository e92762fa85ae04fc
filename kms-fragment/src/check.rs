//! What `serve` would read, looked at without it: the configuration, the key file and the state directory. No
//! state is opened, so it may be asked while the service runs.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use symbolon_net::faults::Examined;

use crate::config::Config;

/// Everything that is wrong with a configuration file and what it names; empty if `serve` would take it.
#[must_use]
pub fn faults(path: &Path) -> Vec<String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return vec![format!("cannot read {}: {error}", path.display())],
    };
    let examined = Examined::new::<Config>(&text, &["listen", "state_dir"]);
    let (rest, mut faults) = (examined.rest(), examined.faults);
    let Ok(config) = toml::from_str::<Config>(&rest) else { return faults };
    let refused = config.refusals();
    let can_be_opened = config.key_file.is_some() != config.passphrase_file.is_some();
    faults.extend(refused.iter().map(ToString::to_string));
    if can_be_opened {
        match config.sealing() {
            Ok(sealing) => faults.extend(sealing.check().err().map(|error| chain(&error))),
            Err(error) => faults.push(chain(&error)),
        }
    }
    faults.extend(state(&config.state_dir));
    faults
}

fn state(path: &Path) -> Option<String> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(error) => Some(format!(
            "cannot use the state directory {shown}: {error}; `symbolon fragment init` makes it"
        )),
        Ok(found) if !found.is_dir() => Some(format!("state_dir names {shown}, which is no directory")),
        Ok(found) if found.mode() & 0o077 != 0 => {
            Some(format!("the state directory {shown} is open to others; run `chmod 700` on it"))
        }
        Ok(_) if !path.join("sealing.toml").exists() => Some(format!(
            "{shown} holds no fragment service; run `symbolon fragment init` first, or correct `state_dir`"
        )),
        Ok(_) => None,
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
