//! Reads that a file may answer piecemeal.

use contract::{File, FsError};

/// `len` bytes from `offset` on; fewer only where the file ends. A file may give less than there is
/// (`read(2)` may too), so that only a read of nothing tells the end.
///
/// # Errors
/// If the file system fails.
pub async fn read_at(file: &impl File, offset: u64, len: usize) -> Result<Vec<u8>, FsError> {
    let (read, mut bytes) = file.read_at(offset, vec![0; len]).await;
    let mut done = read?;
    while done < len {
        let (read, more) = file.read_at(offset + done as u64, vec![0; len - done]).await;
        let read = read?;
        assert!(read <= len - done, "a read fills no more than its buffer");
        if read == 0 {
            break;
        }
        bytes[done..done + read].copy_from_slice(&more[..read]);
        done += read;
    }
    bytes.truncate(done);
    Ok(bytes)
}
