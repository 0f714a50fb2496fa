//! What can go wrong with a local server, in words for the person who started it.

use std::io;
use std::path::PathBuf;

/// Why a server, a tier or a tool did not do what was asked. Each message is one line, but for the log's last lines.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process listens where `server` should.
    #[error("port {port}, needed by {server}, is in use")]
    PortInUse { server: String, port: u16 },
    /// The process ended before it was ready. `log_tail`: its last words, several lines.
    #[error("{server} ended before it was ready ({status}); its log {} ends with:\n{log_tail}", log.display())]
    Ended { server: String, status: String, log: PathBuf, log_tail: String },
    /// The process runs, but did not become ready in time. `last`: why it was not, the last time it was asked.
    #[error(
        "{server} was not ready within {seconds} s ({last}); its log {} ends with:\n{log_tail}", log.display()
    )]
    NotReady { server: String, seconds: u64, last: String, log: PathBuf, log_tail: String },
    /// A replica runs, but does not show in time what its primary has.
    #[error("{server} has not followed within {seconds} s ({last}); its log is {}", log.display())]
    Behind { server: String, seconds: u64, last: String, log: PathBuf },
    /// A process that should go on ended.
    #[error("{server} ended unexpectedly ({status}); its log is {}", log.display())]
    Died { server: String, status: String, log: PathBuf },
    #[error("{server} is not running")]
    NotRunning { server: String },
    #[error("{what} is not installed: run infra/install")]
    NotInstalled { what: String },
    /// A tool of a server (initdb, psql, pg_basebackup ...) ended with an error.
    #[error("{tool} failed: {output}")]
    Tool { tool: String, output: String },
    #[error("{}: the system user {user}, as whom the servers run, cannot get there; choose a folder whose parents others may enter", path.display())]
    Unreachable { path: PathBuf, user: String },
    #[error("the key of tokens: {0}")]
    Key(#[source] kontor_identity::KeyError),
    #[error("the master key of personal data: {0}")]
    MasterKey(#[source] kontor_privacy::MasterKeyError),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl Error {
    /// For `map_err`: says what was being done when the system refused.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}
