//! Where a backup is, as commands are told.

use std::path::{Path, PathBuf};

use clap::Args;
use symbolon_broker::backup::place::{self, Bytes, Place};
use symbolon_broker::config::{BackupConfig, Bucket, Config};

use crate::failure::Failure;

/// A place of backups.
#[derive(Args)]
pub struct Where {
    /// A directory, or s3://bucket/prefix
    #[arg(value_name = "PLACE", required_unless_present = "config")]
    place: Option<String>,
    /// Take the place, and how to reach it, from a broker's configuration
    #[arg(long, value_name = "FILE", conflicts_with = "place")]
    config: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

/// One backup.
#[derive(Args)]
pub struct Source {
    /// A file, `-` for standard input, or s3://bucket/prefix/name
    #[arg(value_name = "BACKUP")]
    source: String,
    /// Take how to reach a bucket from a broker's configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

/// How a bucket is reached.
#[derive(Args)]
pub struct Reach {
    /// Address of an S3-compatible server
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Region of the bucket
    #[arg(long)]
    region: Option<String>,
    /// File with the id of the access key
    #[arg(long, value_name = "FILE")]
    access_key_id_file: Option<PathBuf>,
    /// File with the secret of the access key
    #[arg(long, value_name = "FILE")]
    secret_access_key_file: Option<PathBuf>,
    /// Authority of the server's certificate, in PEM
    #[arg(long, value_name = "FILE")]
    bucket_ca_file: Option<PathBuf>,
}

impl Where {
    /// Opens it.
    pub fn open(self) -> Result<Place, Failure> {
        let Self { place, config, reach } = self;
        let (address, bucket) = match (place, config) {
            (Some(place), _) => (absolute(&place)?, reach.bucket()),
            (None, Some(config)) => {
                let plan = plan(&config)?;
                (plan.to, plan.bucket.unwrap_or_default())
            }
            (None, None) => return Err(Failure::usage("name a place, or a configuration with `--config`")),
        };
        Ok(Place::open(&address, Some(&bucket))?)
    }
}

impl Source {
    /// Its bytes.
    pub async fn bytes(self) -> Result<Bytes, Failure> {
        if self.source == "-" {
            return Ok(place::file(Path::new("/dev/stdin")).await?);
        }
        if !self.source.starts_with("s3://") {
            return Ok(place::file(Path::new(&self.source)).await?);
        }
        let (place, name) = self.source.rsplit_once('/').unwrap_or_default();
        let bucket = match self.config {
            Some(config) => plan(&config)?.bucket.unwrap_or_default(),
            None => self.reach.bucket(),
        };
        Ok(Place::open(place, Some(&bucket))?.get(name).await?)
    }
}

impl Reach {
    fn bucket(self) -> Bucket {
        Bucket {
            endpoint: self.endpoint,
            region: self.region,
            access_key_id_file: self.access_key_id_file,
            secret_access_key_file: self.secret_access_key_file,
            ca_file: self.bucket_ca_file,
        }
    }
}

fn plan(config: &Path) -> Result<BackupConfig, Failure> {
    let read = Config::load(config).map_err(|error| Failure::usage(error.to_string()))?;
    read.backup.ok_or_else(|| Failure::usage(format!("{} has no [backup]", config.display())))
}

fn absolute(place: &str) -> Result<String, Failure> {
    match place.starts_with("s3://") {
        true => Ok(place.to_owned()),
        false => Ok(std::path::absolute(place)?.display().to_string()),
    }
}
