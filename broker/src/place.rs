//! Where things lie that leave the store: a directory, or a bucket that speaks S3. What has a name there is
//! whole: a directory's file is synced before it gets its name, and a bucket shows no half of an object.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream::BoxStream};
use object_store::aws::AmazonS3Builder;
use object_store::buffered::BufWriter;
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use symbolon_proto::Zeroizing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::Bucket;
use crate::fetch::{self, FetchError};
use crate::store::{Cause, StoreError};

/// Bytes that are sent to a bucket together: the least that S3 takes for a part.
const PART_BYTES: usize = 5 << 20;
/// Longest pieces that are given to a reader.
const READ_BYTES: usize = 128 << 10;
/// Bytes that are asked for together, so that a slow reader keeps no request waiting.
const RANGE_BYTES: u64 = 4 << 20;
/// Whoever else has an account on the machine has no business with them.
const FILE_MODE: u32 = 0o600;
/// How long a bucket may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest single request.
    pub request: Duration,
    /// How long a request that fails is tried again.
    pub retry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { request: Duration::from_secs(120), retry: Duration::from_secs(60) }
    }
}

/// Why a place cannot be used, or what is in it.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Neither a directory nor a bucket.
    #[error("expected a directory, as an absolute path, or s3://bucket/prefix; this is neither")]
    Address,
    /// A bucket without what it needs.
    #[error("a bucket needs {what}")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// A file of credentials or certificates, or one to be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP client.
    #[error("the bucket cannot be reached as configured: {0}")]
    Client(#[from] FetchError),
    /// The place's answer.
    #[error("the directory or bucket refuses: {0}")]
    Store(#[from] object_store::Error),
    /// Writing to it.
    #[error("the directory or bucket cannot be written to: {0}")]
    Write(#[from] std::io::Error),
    /// The other side of it.
    #[error("it was broken off: {0}")]
    BrokenOff(#[from] BrokenOff),
}

impl PlaceError {
    /// Whether the place answers, and there is nothing of that name.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Store(object_store::Error::NotFound { .. }))
    }
}

/// A directory or a bucket.
pub struct Place {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Where files have to be synced, if it is a directory.
    directory: Option<PathBuf>,
}

/// Why whoever makes something stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum BrokenOff {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Without keys nothing can be signed.
    #[error("the broker was sealed")]
    Sealed,
    /// What was to be written is not there, or is damaged.
    #[error("what is to be written cannot be read")]
    Unreadable(#[source] Cause),
}

/// Bytes as they are made.
pub trait Source: Send {
    /// The bytes that follow; `None` after the last.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, BrokenOff>> + Send;
}

/// Bytes that lie somewhere, in pieces.
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
    pub fn open(address: &str, bucket: Option<&Bucket>, patience: Patience) -> Result<Self, PlaceError> {
        match address.strip_prefix("s3://") {
            Some(rest) => Self::bucket(rest, bucket.unwrap_or(&Bucket::default()), patience),
            None if FilePath::new(address).is_absolute() => Self::directory(FilePath::new(address)),
            None => Err(PlaceError::Address),
        }
    }

    fn directory(path: &FilePath) -> Result<Self, PlaceError> {
        let store = LocalFileSystem::new_with_prefix(path)?.with_automatic_cleanup(false).with_fsync(true);
        Ok(Self { store: Arc::new(store), prefix: Path::default(), directory: Some(path.to_owned()) })
    }

    fn bucket(address: &str, bucket: &Bucket, patience: Patience) -> Result<Self, PlaceError> {
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
            .with_access_key_id(credential(key_id)?.as_str())
            .with_secret_access_key(credential(secret)?.as_str())
            .with_disable_bulk_delete(true) // some servers have no other than the plain one
            .with_http_connector(Client(client(bucket, patience)?))
            .with_retry(RetryConfig { retry_timeout: patience.retry, ..RetryConfig::default() });
        if let Some(endpoint) = &bucket.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let prefix = Path::parse(prefix).map_err(object_store::Error::from)?;
        Ok(Self { store: Arc::new(builder.build()?), prefix, directory: None })
    }

    /// Writes something as it is made. What is there under its name afterwards is what was given out, synced.
    pub async fn put(&self, name: &str, source: &mut impl Source) -> Result<(), PlaceError> {
        let path = self.path(name)?;
        let out = BufWriter::with_capacity(Arc::clone(&self.store), path, PART_BYTES);
        let mut out = out.with_max_concurrency(1);
        if let Err(error) = pour(source, &mut out).await {
            let _ = out.abort().await; // what is left of it has no name; a bucket's rules remove it
            return Err(error);
        }
        out.shutdown().await?; // a writer that has begun to end must not be aborted
        match &self.directory {
            Some(directory) => own(&directory.join(name)).await,
            None => Ok(()),
        }
    }

    /// The bytes of an object, asked for range by range as they are taken.
    pub async fn get(&self, name: &str) -> Result<Bytes, PlaceError> {
        let (store, meta) = (Arc::clone(&self.store), self.store.head(&self.path(name)?).await?);
        let pieces = futures_util::stream::try_unfold(0, move |at| {
            let (store, meta) = (Arc::clone(&store), meta.clone());
            async move {
                if at >= meta.size {
                    return Ok(None);
                }
                let end = meta.size.min(at + RANGE_BYTES);
                Ok(Some((range(store.as_ref(), &meta, at..end).await?, end)))
            }
        });
        Ok(Bytes::new(pieces.boxed()))
    }

    /// Removes one.
    pub async fn remove(&self, name: &str) -> Result<(), PlaceError> {
        Ok(self.store.delete(&self.path(name)?).await?)
    }

    /// What lies here under names that `is_ours` takes.
    pub async fn objects(
        &self,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, ObjectMeta)>, PlaceError> {
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let found = self.store.list_with_delimiter(prefix).await?.objects.into_iter();
        let named = found.filter_map(|meta| Some((meta.location.filename()?.to_owned(), meta)));
        Ok(named.filter(|(name, _)| is_ours(name)).collect())
    }

    /// The first bytes of an object, at most `limit`.
    pub async fn head(&self, meta: &ObjectMeta, limit: u64) -> Result<bytes::Bytes, PlaceError> {
        range(self.store.as_ref(), meta, 0..meta.size.min(limit)).await
    }

    /// Removes what a killed process has left in a directory under names that `is_left_over` takes. Nobody
    /// else writes there now.
    pub async fn sweep(&self, is_left_over: impl Fn(&str) -> bool) -> Result<(), PlaceError> {
        let Some(directory) = self.directory.clone() else { return Ok(()) };
        let mut files = tokio::fs::read_dir(&directory).await?;
        while let Some(file) = files.next_entry().await? {
            if file.file_name().to_str().is_some_and(&is_left_over) {
                tokio::fs::remove_file(file.path()).await?;
            }
        }
        Ok(())
    }

    /// Names are ours and have no folders.
    fn path(&self, name: &str) -> Result<Path, PlaceError> {
        match name.starts_with("symbolon-") && !name.contains('/') {
            true => Ok(self.prefix.clone().join(name)),
            false => Err(PlaceError::Address),
        }
    }
}

async fn own(path: &FilePath) -> Result<(), PlaceError> {
    Ok(tokio::fs::set_permissions(path, std::fs::Permissions::from_mode(FILE_MODE)).await?)
}

/// Some bytes of an object that is still the same.
async fn range(
    store: &dyn ObjectStore,
    meta: &ObjectMeta,
    range: std::ops::Range<u64>,
) -> Result<bytes::Bytes, PlaceError> {
    if range.is_empty() {
        return Ok(bytes::Bytes::new());
    }
    let options = GetOptions {
        range: Some(GetRange::Bounded(range)),
        if_match: meta.e_tag.clone(),
        ..GetOptions::default()
    };
    Ok(store.get_opts(&meta.location, options).await?.bytes().await?)
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

async fn pour(source: &mut impl Source, out: &mut BufWriter) -> Result<(), PlaceError> {
    while let Some(bytes) = source.next().await? {
        out.write_all(&bytes).await?;
    }
    Ok(())
}

fn credential(path: &FilePath) -> Result<Zeroizing<String>, PlaceError> {
    line(path).map_err(|source| PlaceError::File { path: path.to_owned(), source })
}

/// The first line of a file that holds a credential.
pub fn line(path: &FilePath) -> std::io::Result<Zeroizing<String>> {
    let text = Zeroizing::new(std::fs::read_to_string(path)?);
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().trim().to_owned()))
}

fn client(bucket: &Bucket, patience: Patience) -> Result<reqwest::Client, PlaceError> {
    let authority = bucket.ca_file.as_ref().map(|path| {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PlaceError::File { path: path.clone(), source })?;
        // An empty text would mean the system's authorities, and another one was asked for.
        if text.is_empty() { Err(FetchError::Authority.into()) } else { Ok::<_, PlaceError>(text) }
    });
    let client = fetch::builder(&authority.transpose()?.unwrap_or_default())?.timeout(patience.request);
    Ok(client.build().map_err(FetchError::from)?)
}

/// The HTTP client that everything here uses, handed to the library.
#[derive(Debug)]
struct Client(reqwest::Client);

impl HttpConnector for Client {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}
