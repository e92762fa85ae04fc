//! What ESO does for a secret, once, with its own evidence.

use symbolon_cli::demo::eso::{Session, Store, StoreAuth, Traffic};

use super::Setup;
use super::findings::{Findings, Mark, failed};
use crate::eso::Method;
use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;

/// A name that nobody gives a secret.
const ABSENT: &str = "symbolon-eso-setup/certainly/absent";

impl Setup {
    /// The requests of ESO's provider: login, reads, look-up, and the end of the token.
    pub(super) async fn rehearse(
        &self,
        globals: &Globals,
        auth: StoreAuth,
        found: &mut Findings,
    ) -> Result<(), Failure> {
        let Some(ca) = globals.ca_cert() else {
            found.missing(
                "login",
                "was not tried: it needs the broker's CA file in --ca-cert or SYMBOLON_CACERT",
            );
            return Ok(());
        };
        let ca_pem = input::file(&ca)?.to_string();
        let mount = self.manifest.mount.trim_matches('/').to_owned();
        let store = Store { server: globals.address(), ca_pem, mount, auth };
        let mut traffic = Traffic::default();
        let session = match Session::open(&store, &mut traffic).await {
            Ok(session) => session,
            Err(error) => {
                found.missing("login", &format!("{}: {}", failed(&error), self.why_no_login()));
                return Ok(());
            }
        };
        found.add(Mark::Right, "login", "the role lets ESO in");
        for (key, place, field) in self.manifest.external_secret()?.data {
            let read = session.read(&place, &mut traffic.reads).await;
            found.read((&key, &place), read, field.as_deref(), &store.mount);
        }
        found.absent(session.read(ABSENT, &mut traffic.reads).await);
        found.list(session.list("", &mut traffic.reads).await);
        match session.close(&mut traffic).await {
            Ok(()) => found.add(Mark::Right, "look-up and end of the token", "as ESO does after each secret"),
            Err(error) => found.missing("look-up and end of the token", &failed(&error)),
        }
        Ok(())
    }

    const fn why_no_login(&self) -> &'static str {
        match self.manifest.auth {
            Method::Kubernetes => {
                "is the token of this service account and namespace, for this audience, of this cluster, and not over?"
            }
            Method::Approle => {
                "was the secret id of another role, or has it ended? Remove its file, and this makes another"
            }
        }
    }
}
