//! Where files go: a folder, or a bucket of an S3-compatible store.

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs};
use url::Url;

/// A store that does not answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder, or what is under a prefix of a bucket. A file is there whole or not at all: on a local disk it is written beside
/// its place, synced and renamed; a store makes an object visible when it has all of it.
#[derive(Debug)]
pub struct Destination {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    shown: String,
}

/// Why nothing can be written there.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    #[error("must be a folder or s3://BUCKET/PREFIX, is {0}")]
    OtherScheme(String),
    #[error("must be a URL such as s3://bucket/prefix, is {0}")]
    NoUrl(String),
    #[error("{folder} cannot be made: {error}")]
    Folder { folder: String, error: std::io::Error },
    #[error("{shown}: {error}")]
    Store { shown: String, error: object_store::Error },
}

impl Destination {
    /// A folder, which is made if need be, or `s3://BUCKET/PREFIX`. Of the latter, the environment says who asks, and where, by the
    /// usual names: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` and so on. `endpoint`: of a store that is not
    /// Amazon's.
    pub fn open(to: &str, endpoint: Option<&Url>) -> Result<Self, DestinationError> {
        match to.split_once("://") {
            None => Self::folder(to),
            Some(("s3", _)) => {
                let url = Url::parse(to).map_err(|_| DestinationError::NoUrl(to.to_owned()))?;
                let prefix = Path::from_url_path(url.path()).map_err(|_| DestinationError::NoUrl(to.to_owned()))?;
                let retries = RetryConfig { max_retries: 5, retry_timeout: PATIENCE, ..RetryConfig::default() };
                let mut builder = AmazonS3Builder::from_env().with_url(to).with_retry(retries);
                if let Some(endpoint) = endpoint {
                    let is_plain = endpoint.scheme() == "http";
                    builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/')).with_allow_http(is_plain);
                }
                let store = builder.build().map_err(|error| DestinationError::Store { shown: to.to_owned(), error })?;
                Ok(Self { store: Arc::new(store), prefix, shown: to.trim_end_matches('/').to_owned() })
            }
            Some(_) => Err(DestinationError::OtherScheme(to.to_owned())),
        }
    }

    fn folder(folder: &str) -> Result<Self, DestinationError> {
        fs::create_dir_all(folder).map_err(|error| DestinationError::Folder { folder: folder.to_owned(), error })?;
        let store = LocalFileSystem::new_with_prefix(folder)
            .map_err(|error| DestinationError::Store { shown: folder.to_owned(), error })?;
        let (prefix, shown) = (Path::default(), folder.to_owned());
        Ok(Self { store: Arc::new(store.with_fsync(true)), prefix, shown })
    }

    /// Writes a file, in place of one of the same name.
    pub(crate) async fn put(&self, name: &str, content: impl Into<Bytes>) -> Result<(), DestinationError> {
        let put = self.store.put(&self.at(name), content.into().into()).await;
        put.map(drop).map_err(|error| self.failed(error))
    }

    /// What the file has; `None`: there is none.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Bytes>, DestinationError> {
        let content = match self.store.get(&self.at(name)).await {
            Ok(found) => found.bytes().await,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => Err(error),
        };
        content.map(Some).map_err(|error| self.failed(error))
    }

    fn at(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn failed(&self, error: object_store::Error) -> DestinationError {
        DestinationError::Store { shown: self.shown.clone(), error }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
