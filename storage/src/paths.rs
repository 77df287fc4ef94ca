//! Names of a store's files.

use contract::{EngineError, File, Fs, FsError, OpenMode};

/// The number in a name of ten digits and a suffix; `None` if the name is another's.
pub(crate) fn numbered(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let ours = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if ours { digits.parse().ok() } else { None }
}

/// Refuses a folder with files that are not this engine's: another engine's store must not look like an
/// empty one.
pub(crate) fn refuse_others(
    dir: &str,
    names: &[String],
    is_ours: impl Fn(&str) -> bool,
) -> Result<(), EngineError> {
    match names.iter().find(|name| !is_ours(name)) {
        Some(name) => {
            let what = "is no file of this engine";
            Err(EngineError::Corrupt { file: format!("{dir}/{name}").into(), offset: 0, what })
        }
        None => Ok(()),
    }
}

/// Creates a folder so that its name outlives a power loss.
pub(crate) async fn create_dir_durably<F: Fs>(fs: &F, dir: &str) -> Result<(), FsError> {
    fs.create_dir(dir).await?;
    let parent = dir.rsplit_once('/').map_or("", |(parent, _)| parent);
    fs.sync_dir(parent).await
}

/// Gives a file that never changes again a second name, which must be free; where there are no hard
/// links, copies it. The name is not durable yet.
pub(crate) async fn link_or_copy<F: Fs>(fs: &F, from: &str, to: &str) -> Result<(), FsError> {
    match fs.link(from, to).await {
        // A copy over a name that is taken would change the file behind it.
        Err(FsError::Io { .. }) if !fs.exists(to).await? => {
            let source = fs.open(from, OpenMode::Existing).await?;
            copy(fs, &source, to).await
        }
        linked => linked,
    }
}

async fn copy<F: Fs>(fs: &F, source: &F::File, to: &str) -> Result<(), FsError> {
    const CHUNK_BYTES: usize = 1 << 20;
    let target = fs.open(to, OpenMode::Truncate).await?;
    let (mut at, mut buffer) = (0, vec![0; CHUNK_BYTES]);
    loop {
        let (read, mut bytes) = source.read_at(at, buffer).await;
        let read = read?;
        if read == 0 {
            return target.sync_data().await;
        }
        bytes.truncate(read);
        let (written, mut bytes) = target.write_at(at, bytes).await;
        written?;
        at += read as u64;
        bytes.resize(CHUNK_BYTES, 0);
        buffer = bytes;
    }
}
