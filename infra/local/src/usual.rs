//! Where the platform's data is when nobody says otherwise.

use crate::Error;
use std::io;
use std::path::PathBuf;

/// The state of services belongs below /var for root (whose home the servers' users cannot enter), and into the home of
/// others (XDG Base Directory Specification).
pub fn usual_data_folder() -> Result<PathBuf, Error> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/kontor"));
    }
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    let unset =
        || Error::io("neither HOME nor XDG_STATE_HOME is set: say where with --data")(io::ErrorKind::NotFound.into());
    Ok(state.ok_or_else(unset)?.join("kontor"))
}
