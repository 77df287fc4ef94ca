//! Names of a store's files.

use contract::{Fs, FsError};

/// The number in a name of ten digits and a suffix; `None` if the name is another's.
pub(crate) fn numbered(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let ours = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if ours { digits.parse().ok() } else { None }
}

/// Creates a folder so that its name outlives a power loss.
pub(crate) async fn create_dir_durably<F: Fs>(fs: &F, dir: &str) -> Result<(), FsError> {
    fs.create_dir(dir).await?;
    let parent = dir.rsplit_once('/').map_or("", |(parent, _)| parent);
    fs.sync_dir(parent).await
}
