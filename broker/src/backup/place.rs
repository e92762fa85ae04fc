//! Where backups lie: a directory, or a bucket that speaks S3.

use std::fs::File;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::aws::AmazonS3Builder;
use object_store::buffered::BufWriter;
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use symbolon_proto::Zeroizing;
use symbolon_proto::backup::{About, BackupReader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::kept;
use super::making::{BrokenOff, Making};
use crate::config::Bucket;

/// Bytes that are sent to a bucket together: the least that S3 takes for a part.
const PART_BYTES: usize = 5 << 20;
/// Most backups that are listed; more than ten years of daily ones.
const LISTED_MAX: usize = 4096;
/// Bytes in which the head of a backup has room, with 32 recipients.
const HEAD_BYTES: u64 = 64 << 10;
/// Longest pieces that are given to a reader.
const READ_BYTES: usize = 128 << 10;
/// Longest single request to a bucket.
const REQUEST_TIME: Duration = Duration::from_secs(120);
/// How long a request that fails is tried again.
const RETRY_TIME: Duration = Duration::from_secs(60);

/// Why a place cannot be used, or what is in it.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Neither a directory nor a bucket.
    #[error("backups go to a directory, as an absolute path, or to s3://bucket/prefix; this is neither")]
    Address,
    /// A bucket without what it needs.
    #[error("a bucket needs {what}")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// A file of credentials or certificates, or a backup.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP client.
    #[error("the certificate authority of the bucket cannot be used: {0}")]
    Client(#[source] reqwest::Error),
    /// The place's answer.
    #[error("the place of the backups refuses: {0}")]
    Store(#[from] object_store::Error),
    /// Writing to it.
    #[error("the backup cannot be written: {0}")]
    Write(#[from] std::io::Error),
    /// The other side of it.
    #[error("the backup was broken off: {0}")]
    BrokenOff(#[from] BrokenOff),
}

/// A directory or a bucket.
pub struct Place {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Where files have to be synced, if it is a directory.
    directory: Option<PathBuf>,
}

/// A backup that lies there.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// What its head says; `None` if it is none of ours after all.
    pub about: Option<About>,
}

/// The bytes of a backup, in pieces.
pub struct Bytes {
    pieces: BoxStream<'static, Result<bytes::Bytes, PlaceError>>,
    rest: bytes::Bytes,
}

impl Bytes {
    /// From wherever they come.
    #[must_use]
    pub fn new(pieces: BoxStream<'static, Result<bytes::Bytes, PlaceError>>) -> Self {
        Self { pieces, rest: bytes::Bytes::new() }
    }

    /// The next ones; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<bytes::Bytes>, PlaceError> {
        while self.rest.is_empty() {
            match self.pieces.next().await {
                Some(piece) => self.rest = piece?,
                None => return Ok(None),
            }
        }
        Ok(Some(self.rest.split_to(self.rest.len().min(READ_BYTES))))
    }
}

impl Place {
    /// The directory or bucket at `address`. Nothing is asked of it yet; a directory must exist.
    pub fn open(address: &str, bucket: Option<&Bucket>) -> Result<Self, PlaceError> {
        match address.strip_prefix("s3://") {
            Some(rest) => Self::bucket(rest, bucket.unwrap_or(&Bucket::default())),
            None if FilePath::new(address).is_absolute() => Self::directory(FilePath::new(address)),
            None => Err(PlaceError::Address),
        }
    }

    fn directory(path: &FilePath) -> Result<Self, PlaceError> {
        let store = LocalFileSystem::new_with_prefix(path)?.with_automatic_cleanup(false);
        Ok(Self { store: Arc::new(store), prefix: Path::default(), directory: Some(path.to_owned()) })
    }

    fn bucket(address: &str, bucket: &Bucket) -> Result<Self, PlaceError> {
        let (name, prefix) = address.split_once('/').unwrap_or((address, ""));
        if name.is_empty() {
            return Err(PlaceError::Address);
        }
        let key_id = bucket.access_key_id_file.as_ref();
        let key_id = key_id.ok_or(PlaceError::Missing { what: "access_key_id_file" })?;
        let secret = bucket.secret_access_key_file.as_ref();
        let secret = secret.ok_or(PlaceError::Missing { what: "secret_access_key_file" })?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(bucket.region.as_deref().unwrap_or("us-east-1"))
            .with_access_key_id(line(key_id)?.as_str())
            .with_secret_access_key(line(secret)?.as_str())
            .with_http_connector(Client(client(bucket)?))
            .with_retry(RetryConfig { retry_timeout: RETRY_TIME, ..RetryConfig::default() });
        if let Some(endpoint) = &bucket.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let prefix = Path::parse(prefix).map_err(object_store::Error::from)?;
        Ok(Self { store: Arc::new(builder.build()?), prefix, directory: None })
    }

    /// Writes a backup as it is made. What is there under its name afterwards is what was given out, synced.
    pub async fn put(&self, making: &mut Making) -> Result<(), PlaceError> {
        let path = self.prefix.clone().join(making.name());
        let mut out =
            BufWriter::with_capacity(Arc::clone(&self.store), path, PART_BYTES).with_max_concurrency(1);
        match pour(making, &mut out).await {
            Ok(()) => self.sync(&making.name()),
            Err(error) => {
                let _ = out.abort().await; // what is left of it has no name; a bucket's rules remove it
                Err(error)
            }
        }
    }

    /// The bytes of a backup.
    pub async fn get(&self, name: &str) -> Result<Bytes, PlaceError> {
        let found = self.store.get(&self.path(name)?).await?;
        Ok(Bytes::new(found.into_stream().map_err(PlaceError::from).boxed()))
    }

    /// Names of all backups that lie here, the oldest of each deployment first.
    pub async fn names(&self) -> Result<Vec<String>, PlaceError> {
        let mut names: Vec<_> = self.objects().await?.into_iter().map(|(name, _)| name).collect();
        names.sort();
        Ok(names)
    }

    /// The same with what their heads say.
    pub async fn list(&self) -> Result<Vec<Found>, PlaceError> {
        let mut all = Vec::new();
        for (name, meta) in self.objects().await? {
            let about = self.about(&meta).await?;
            all.push(Found { name, bytes: meta.size, about });
        }
        all.sort_by_key(|found| found.about.as_ref().map(|about| (about.made, about.entries)));
        Ok(all)
    }

    /// Removes one.
    pub async fn remove(&self, name: &str) -> Result<(), PlaceError> {
        Ok(self.store.delete(&self.path(name)?).await?)
    }

    async fn objects(&self) -> Result<Vec<(String, ObjectMeta)>, PlaceError> {
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let found = self.store.list_with_delimiter(prefix).await?.objects.into_iter();
        let named = found.filter_map(|meta| Some((meta.location.filename()?.to_owned(), meta)));
        Ok(named.filter(|(name, _)| kept::is_name(name)).take(LISTED_MAX).collect())
    }

    async fn about(&self, meta: &ObjectMeta) -> Result<Option<About>, PlaceError> {
        let range = GetRange::Bounded(0..meta.size.min(HEAD_BYTES));
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let bytes = self.store.get_opts(&meta.location, options).await?.bytes().await?;
        let mut reader = BackupReader::new(None);
        let _ = reader.feed(&bytes); // an error after the head does not make the head wrong
        Ok(reader.head().map(|head| head.about().clone()))
    }

    fn path(&self, name: &str) -> Result<Path, PlaceError> {
        match kept::is_name(name) && !name.contains('/') {
            true => Ok(self.prefix.clone().join(name)),
            false => Err(PlaceError::Address),
        }
    }

    fn sync(&self, name: &str) -> Result<(), PlaceError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        File::open(directory.join(name))?.sync_all()?;
        Ok(File::open(directory)?.sync_all()?)
    }
}

/// The bytes of one file.
pub async fn file(path: &FilePath) -> Result<Bytes, PlaceError> {
    let unreadable = |source| PlaceError::File { path: path.to_owned(), source };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let pieces = futures_util::stream::try_unfold(file, async |mut file| {
        let mut piece = bytes::BytesMut::with_capacity(READ_BYTES);
        let count = file.read_buf(&mut piece).await?;
        Ok((count > 0).then(|| (piece.freeze(), file)))
    });
    Ok(Bytes::new(pieces.boxed()))
}

async fn pour(making: &mut Making, out: &mut BufWriter) -> Result<(), PlaceError> {
    while let Some(bytes) = making.next().await? {
        out.write_all(&bytes).await?;
    }
    Ok(out.shutdown().await?)
}

/// The first line of a file that holds a credential.
fn line(path: &FilePath) -> Result<Zeroizing<String>, PlaceError> {
    let text = std::fs::read_to_string(path);
    let text = Zeroizing::new(text.map_err(|source| PlaceError::File { path: path.to_owned(), source })?);
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().trim().to_owned()))
}

fn client(bucket: &Bucket) -> Result<reqwest::Client, PlaceError> {
    if CryptoProvider::get_default().is_none() {
        // Without one the HTTP client panics. Somebody else may have been faster, with the same one.
        let _ = aws_lc_rs::default_provider().install_default();
    }
    let mut client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(REQUEST_TIME);
    if let Some(path) = &bucket.ca_file {
        let pem = std::fs::read(path).map_err(|source| PlaceError::File { path: path.clone(), source })?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem).map_err(PlaceError::Client)?;
        client = client.tls_certs_only(authorities);
    }
    client.build().map_err(PlaceError::Client)
}

/// The HTTP client that everything here uses, handed to the library.
#[derive(Debug)]
struct Client(reqwest::Client);

impl HttpConnector for Client {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}
