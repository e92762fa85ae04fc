//! The side that holds the other half.

use std::net::SocketAddr;

use symbolon_kms_fragment::admin::{Ask, Reply, ask};
use symbolon_kms_fragment::config::Config;
use symbolon_kms_fragment::{Options, Service};
use symbolon_proto::fingerprint::Fingerprint;

use super::invitation::Invitation;
use super::names::Address;
use super::place::{self, PUBLIC, text};
use super::unit;
use super::{Deed, Layout, SetupError, Step};

/// Name of the unit, and of the user.
pub const SERVICE: &str = "symbolon-fragment";

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where things go.
    pub layout: Layout,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where brokers reach it.
    pub address: Address,
}

/// What was made.
pub struct Made {
    /// Step by step.
    pub steps: Vec<Step>,
    /// For the operators of brokers.
    pub invitation: Invitation,
}

impl Plan {
    /// Makes what is missing.
    pub async fn carry_out(&self) -> Result<Made, SetupError> {
        let Self { layout, listen, .. } = self;
        let program = layout.program()?;
        let mut steps = vec![place::folder(&layout.config_dir, layout.config_mode(), "configuration")?];
        let account = layout.account(SERVICE)?;
        let config = layout.config("fragment.toml");
        steps.push(place::file(
            &config,
            PUBLIC,
            &self.configuration(),
            "what the service does, with comments",
        )?);
        let (fingerprint, more) = self.keys().await?;
        steps.extend(more);
        let service = unit::Service {
            description: "Symbolon fragment service",
            args: "fragment serve",
            config: &config,
            state: SERVICE,
            user: &account.name,
            port: listen.port(),
        };
        steps.push(place::file(&layout.unit, PUBLIC, &service.unit(layout, &program), "unit for systemd")?);
        let invitation = Invitation { address: self.address.clone(), fingerprint };
        let path = layout.config("invitation");
        steps.push(place::file(
            &path,
            PUBLIC,
            &format!("{invitation}\n"),
            "for the broker's operator; no secret",
        )?);
        Ok(Made { steps, invitation })
    }

    /// The service's keys, made or found.
    async fn keys(&self) -> Result<(Fingerprint, Vec<Step>), SetupError> {
        let config = Config::load(&self.layout.config("fragment.toml"))?;
        symbolon_proto::secret::prepare(config.allow_insecure_memory)?;
        let is_new = !config.state_dir.join("tables").exists();
        let key = config.key_file.clone().filter(|path| !path.exists());
        let known = if is_new { None } else { self.known(&config).await };
        let fingerprint = match known {
            Some(fingerprint) => fingerprint,
            None => self.opened(&config, is_new)?,
        };
        let deed = |is_new| if is_new { Deed::Made } else { Deed::Kept };
        let mut steps = vec![Step {
            deed: deed(is_new),
            path: config.state_dir,
            what: "keys and state; only the service's user may enter",
        }];
        let what = "opens the state: keep it out of the backups that hold the state";
        steps.extend(config.key_file.map(|path| Step { deed: deed(is_new && key.is_some()), path, what }));
        Ok((fingerprint, steps))
    }

    /// Of a service that runs, which has its state to itself, or of one whose invitation is here.
    async fn known(&self, config: &Config) -> Option<Fingerprint> {
        if let Ok(Reply::Status(status)) = ask(&config.state_dir, &Ask::Status).await {
            return status.root_fingerprint.parse().ok();
        }
        let invitation = place::read(&self.layout.config("invitation")).ok().flatten()?;
        invitation.parse::<Invitation>().ok().map(|invitation| invitation.fingerprint)
    }

    /// Its files are the service's own, whoever makes them.
    fn opened(&self, config: &Config, is_new: bool) -> Result<Fingerprint, SetupError> {
        let account = self.layout.account(SERVICE)?;
        let open = if is_new { Service::init } else { Service::open };
        let fingerprint =
            open(&config.state_dir, &config.sealing()?, Options::of(config))?.root_fingerprint();
        place::give(&config.state_dir, &account)?;
        config.key_file.iter().try_for_each(|key| place::give(key, &account))?;
        Ok(fingerprint)
    }

    /// The configuration, with what may be changed later.
    #[must_use]
    pub fn configuration(&self) -> String {
        let Self { layout, listen, .. } = self;
        format!(
            r#"# A Symbolon fragment service. Made by `symbolon setup fragment`; changes of yours are kept, and need a restart.
# Every setting: deploy/fragment.toml in the sources, docs/fragment-service.md.

# Address and port that brokers connect to.
listen = "{listen}"

# Keys, tables and the evaluation log. Only the service's user may enter it.
state_dir = {}

# 32 random bytes that open the state. Best on another device than the state, and never in the same backup.
key_file = {}

# People of whom two must sign every order, such as one to destroy a key: `symbolon officer keygen`. Nothing can be
# ordered before two are named here.
#[[officer]]
#name = "Ana Example"
#key = "sof1..."

[grants]
# Seconds that a broker may use cached keys after each answer: so long at most do they live after `suspend`.
lease_ttl_secs = 3600
# Elements per key that may be evaluated at once and per hour: the most that a broker taken over can open.
quota = {{ burst = 16384, per_hour = 16384 }}
"#,
            text(&layout.state_dir),
            text(&layout.config("fragment.key")),
        )
    }
}
