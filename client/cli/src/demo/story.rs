//! The story: what is carried from act to act.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use symbolon_proto::Zeroizing;
use symbolon_proto::log::VerifierKey;

use super::cluster::{Cluster, ClusterError};
use super::eso::{self, EsoError, Traffic};
use super::estate::{self, AppRole};
use super::homelab::Homelab;
use super::memory::OwnMemory;
use super::world::{Pace, World, WorldError};
use crate::audit::LogError;
use crate::operator::Operator;
use symbolon::Error;

/// Leases short enough to watch them end.
const PACE: Pace = Pace { lease_secs: 4, heartbeat_secs: 1 };

/// Who holds a share.
pub const CUSTODIANS: [&str; 3] = ["ana", "boris", "carla"];
/// Shares that open the broker.
pub const THRESHOLD: u8 = 2;

/// What is carried from act to act.
pub struct Story {
    pub(super) world: World,
    pub(super) memory: OwnMemory,
    pub(super) cluster: Cluster,
    pub(super) homelab: Homelab,
    /// What was written: path to fields.
    pub(super) values: BTreeMap<String, Map<String, Value>>,
    /// One share per custodian, in order.
    pub(super) shares: Vec<Zeroizing<String>>,
    pub(super) root_token: Zeroizing<String>,
    pub(super) log_key: Option<VerifierKey>,
    pub(super) app_role: Option<AppRole>,
    pub(super) traffic: Traffic,
}

/// Why the story cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// Something that runs.
    #[error(transparent)]
    World(#[from] WorldError),
    /// A call of our client.
    #[error(transparent)]
    Call(#[from] Error),
    /// A call of ESO.
    #[error(transparent)]
    Eso(#[from] EsoError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A JWT that the independent library refuses.
    #[error("the independent library refuses the token")]
    Jwt(#[from] jsonwebtoken::errors::Error),
    /// A plain HTTP request.
    #[error("a request failed")]
    Http(#[from] reqwest::Error),
    /// Files and memory of this machine.
    #[error("a file or the memory of this process cannot be read")]
    Machine(#[from] std::io::Error),
    /// What an act needs is not there.
    #[error("{what} is missing")]
    Missing {
        /// What.
        what: &'static str,
    },
}

impl Story {
    pub(super) fn new() -> Result<Self, StoryError> {
        Ok(Self {
            // Opened first: a broker makes its process undumpable, and then only root may look.
            memory: OwnMemory::open()?,
            world: World::new(PACE, None)?,
            cluster: Cluster::generate()?,
            homelab: Homelab::mdapi(),
            values: BTreeMap::new(),
            shares: Vec::new(),
            root_token: Zeroizing::default(),
            log_key: None,
            app_role: None,
            traffic: Traffic::default(),
        })
    }

    /// A client with the root token.
    pub(super) fn root(&self) -> Result<Operator, Error> {
        self.world.client_as(&self.root_token)
    }

    /// ESO's store with Kubernetes logins.
    pub(super) fn kubernetes_store(&self) -> Result<eso::Store, StoryError> {
        let (namespace, account) = estate::ESO_ACCOUNT;
        let jwt = self.cluster.token(namespace, account, estate::ESO_AUDIENCE, now_secs())?;
        Ok(self.store(eso::StoreAuth::Kubernetes {
            mount: "kubernetes".to_owned(),
            role: "eso".to_owned(),
            jwt,
        }))
    }

    /// ESO's store with application roles.
    pub(super) fn approle_store(&self) -> Result<eso::Store, StoryError> {
        let role = self.app_role.as_ref().ok_or(StoryError::Missing { what: "the application role" })?;
        let auth = eso::StoreAuth::AppRole {
            mount: "approle".to_owned(),
            role_id: role.role_id.clone(),
            secret_id: role.secret_id.clone(),
        };
        Ok(self.store(auth))
    }

    fn store(&self, auth: eso::StoreAuth) -> eso::Store {
        let ca_pem = self.world.ca_pem().to_owned();
        eso::Store { server: self.world.broker_url(), ca_pem, mount: estate::MOUNT.to_owned(), auth }
    }

    pub(super) fn log_key(&self) -> Result<&VerifierKey, StoryError> {
        self.log_key.as_ref().ok_or(StoryError::Missing { what: "the log's key" })
    }
}

/// Unix time in seconds.
pub(super) fn now_secs() -> u64 {
    jsonwebtoken::get_current_timestamp()
}
