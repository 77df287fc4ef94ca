//! Names of a store's files, and making them durable.

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

/// The suffix of a file that is to take another's place.
pub(crate) const NEW: &str = ".new";

/// The folder that a path is in.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Creates a folder, and those above it, so that their names outlive a power loss.
pub(crate) async fn create_dir_durably<F: Fs>(fs: &F, dir: &str) -> Result<(), FsError> {
    fs.create_dir(dir).await?;
    let mut dir = dir;
    while !dir.is_empty() {
        dir = parent(dir);
        fs.sync_dir(dir).await?;
    }
    Ok(())
}

/// Makes what was read from a file durable, whatever became of its earlier flushes: pages whose flush
/// failed count as clean, so that no later flush writes them, though readers see them (Rebello et al.,
/// ATC'20). So another file with the same content takes its name.
pub(crate) async fn rewrite<F: Fs>(fs: &F, path: &str, content: &[u8]) -> Result<F::File, FsError> {
    let fresh = format!("{path}{NEW}");
    let file = fs.open(&fresh, OpenMode::Truncate).await?;
    file.write_at(0, content.to_vec()).await.0?;
    file.sync_data().await?;
    fs.rename(&fresh, path).await?;
    fs.sync_dir(parent(path)).await?;
    Ok(file)
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
