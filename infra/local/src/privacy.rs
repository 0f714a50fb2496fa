//! What the local platform's personal data is sealed with.

use crate::Error;
use kontor_privacy::MasterKey;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the master key in `folder` is; it is made if it is not there.
pub(crate) fn master_key_file(folder: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder).map_err(Error::io(format!("cannot make {}", folder.display())))?;
    MasterKey::find_or_make(folder).map_err(Error::MasterKey)?;
    Ok(MasterKey::file(folder))
}
