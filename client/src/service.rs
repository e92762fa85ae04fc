//! What a service needs: log in by itself, fetch secrets, present itself to other services.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::auth::Login;
use crate::client::Client;
use crate::error::Error;
use crate::kv::Secret;
use crate::oauth::{SubjectToken, WorkloadToken};
use crate::token::Token;

/// Where kubelet puts a pod's service-account token.
pub const KUBERNETES_TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Workload tokens kept at once; a service talks to fewer others than this.
const AUDIENCES_MAX: usize = 256;

/// How a service logs in: a role, and the file of a Kubernetes service-account token.
#[derive(Debug, Clone)]
pub struct ServiceLogin {
    /// Login mount.
    pub mount: String,
    /// Role at the broker.
    pub role: String,
    /// File with the token; read again at each login, because kubelet replaces it.
    pub token_file: PathBuf,
    /// File with the proof for workload tokens, whose one audience is the broker's issuer. A projected token of its
    /// own, unless the role's audience is the issuer too.
    pub proof_file: PathBuf,
}

impl ServiceLogin {
    /// The usual place in a pod.
    #[must_use]
    pub fn kubernetes(role: &str) -> Self {
        let token_file = PathBuf::from(KUBERNETES_TOKEN_FILE);
        Self {
            mount: "kubernetes".to_owned(),
            role: role.to_owned(),
            proof_file: token_file.clone(),
            token_file,
        }
    }
}

/// A service's own session with the broker: logs in when needed, and again when its token has ended.
pub struct Service {
    client: Client,
    login: ServiceLogin,
    session: Mutex<Option<Kept<Token>>>,
    tokens: Mutex<HashMap<String, Kept<WorkloadToken>>>,
}

/// A token and when to replace it.
struct Kept<T> {
    value: Arc<T>,
    until: Instant,
}

impl<T> Kept<T> {
    /// Uses a token for four fifths of its lifetime, so that none ends on the way.
    fn new(value: Arc<T>, asked: Instant, lifetime: Duration) -> Self {
        Self { value, until: asked + lifetime.mul_f32(0.8) }
    }

    fn fresh(&self) -> Option<Arc<T>> {
        (Instant::now() < self.until).then(|| Arc::clone(&self.value))
    }
}

/// Lifetime assumed of a token that never ends: a login a day.
const ENDLESS: Duration = Duration::from_secs(86_400);

impl Service {
    /// Connects nothing yet.
    #[must_use]
    pub fn new(client: Client, login: ServiceLogin) -> Self {
        Self { client, login, session: Mutex::new(None), tokens: Mutex::new(HashMap::new()) }
    }

    /// The newest version of a secret. Logs in anew once if the broker no longer knows our token.
    pub async fn fetch(&self, mount: &str, path: &str) -> Result<Secret, Error> {
        let token = self.token().await?;
        match self.client.with_token(Arc::clone(&token)).kv(mount).get(path, None).await {
            Err(Error::Denied(_)) => {
                self.forget(&token).await;
                let token = self.token().await?;
                self.client.with_token(token).kv(mount).get(path, None).await
            }
            other => other,
        }
    }

    /// A token for one audience, cached until four fifths of its life are over.
    pub async fn workload_token(&self, audience: &str) -> Result<Arc<WorkloadToken>, Error> {
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(audience).and_then(Kept::fresh) {
            return Ok(token);
        }
        let asked = Instant::now();
        let subject = SubjectToken::read(&self.login.proof_file).await?;
        let token = Arc::new(self.client.exchange_token(&subject, audience).await?);
        if tokens.len() >= AUDIENCES_MAX {
            tokens.clear();
        }
        tokens.insert(audience.to_owned(), Kept::new(Arc::clone(&token), asked, token.lifetime()));
        Ok(token)
    }

    /// Our token, from a login if need be. One login at a time; others wait for it.
    async fn token(&self) -> Result<Arc<Token>, Error> {
        let mut session = self.session.lock().await;
        if let Some(token) = session.as_ref().and_then(Kept::fresh) {
            return Ok(token);
        }
        let asked = Instant::now();
        let jwt = SubjectToken::read(&self.login.token_file).await?;
        let login = Login::Kubernetes { role: &self.login.role, jwt: jwt.expose() };
        let auth = self.client.login(&self.login.mount, &login).await?;
        let lifetime =
            if auth.lease_duration == 0 { ENDLESS } else { Duration::from_secs(auth.lease_duration) };
        *session = Some(Kept::new(Arc::clone(&auth.token), asked, lifetime));
        Ok(auth.token)
    }

    /// Drops a token that was refused, unless somebody has already replaced it.
    async fn forget(&self, refused: &Arc<Token>) {
        let mut session = self.session.lock().await;
        if session.as_ref().is_some_and(|kept| Arc::ptr_eq(&kept.value, refused)) {
            *session = None;
        }
    }
}
