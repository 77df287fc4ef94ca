//! What is in a journal's folder after a crash.

use std::rc::Rc;

use contract::{Bug, Bugs, File, Fs, FsError, OpenMode, TornTail};

use super::{JournalEntry, JournalError, JournalRecovery, SegmentId};
use crate::log::{Flaw, LogReader, read_whole};
use crate::paths;

/// What was found, and where to go on.
pub(super) struct Found {
    pub(super) recovery: JournalRecovery,
    /// The oldest segment that exists, or `next` if none does.
    pub(super) oldest: SegmentId,
    /// The segment to begin.
    pub(super) next: SegmentId,
    /// Where the segment before `next` ends.
    pub(super) previous_end: u32,
}

/// Where the intact records of the segment read last end, and what stands there.
struct End {
    file: Rc<str>,
    id: SegmentId,
    offset: u64,
    torn: Option<Flaw>,
}

fn corrupt(file: &Rc<str>, flaw: Flaw) -> JournalError {
    JournalError::Corrupt { file: Rc::clone(file), offset: flaw.offset, what: flaw.what }
}

/// Reads all segments, and makes what it read durable.
pub(super) async fn recover<F: Fs>(fs: &F, dir: &str, bugs: Bugs) -> Result<Found, JournalError> {
    paths::create_dir_durably(fs, dir).await?;
    let names = fs.list(dir).await?;
    for unfinished in names.iter().filter(|name| paths::numbered(name, ".journal.new").is_some()) {
        fs.remove(&format!("{dir}/{unfinished}")).await?;
    }
    let segments: Vec<_> =
        names.iter().filter_map(|name| Some(SegmentId(paths::numbered(name, ".journal")?))).collect();
    assert!(segments.is_sorted(), "ten digits sort as their numbers do");
    let mut recovery = JournalRecovery::default();
    let mut end: Option<End> = None;
    for (place, &id) in segments.iter().enumerate() {
        let path: Rc<str> = id.path(dir).into();
        let file = fs.open(&path, OpenMode::Existing).await?;
        let bytes = read_segment(&file, bugs).await?;
        let last = place + 1 == segments.len();
        match LogReader::header(id.identity(), &bytes) {
            Ok(previous_end) => {
                if let Some(previous) = &end {
                    check_seal(previous, id, previous_end)?;
                }
            }
            // Nothing is written into a segment before its header is durable: a bad header with no
            // record behind it is a creation that was interrupted, and otherwise damage.
            Err(_) if last && !LogReader::any_record(id.identity(), &bytes) => break,
            Err(flaw) => return Err(corrupt(&path, flaw)),
        }
        let mut reader = LogReader::new(id.identity(), &bytes);
        if bugs.has(Bug::ChecksumIgnored) {
            reader = reader.credulous();
        }
        recovery.entries.extend(reader.by_ref().map(|record| JournalEntry {
            stream: record.tag,
            payload: record.payload.to_vec(),
            segment: id,
        }));
        let torn = match reader.end() {
            Err(flaw) if bugs.has(Bug::CorruptInteriorCut) => Some(flaw),
            end => end.map_err(|flaw| corrupt(&path, flaw))?,
        };
        if last && reader.position() > reader.durable() {
            // What nothing vouches for, were it only the header, may be in the page cache alone. All before
            // the last segment was durable when that began.
            paths::rewrite(fs, &path, reader.used()).await?;
        }
        end = Some(End { file: path, id, offset: reader.position(), torn });
    }
    assert!(
        recovery.entries.is_sorted_by_key(|entry| entry.segment),
        "records are read in the order of their segments"
    );
    let oldest = segments.first().copied().unwrap_or(SegmentId(1));
    let Some(end) = end else {
        return Ok(Found { recovery, oldest, next: oldest, previous_end: 0 });
    };
    recovery.torn = end.torn.map(|flaw| TornTail { file: end.file, offset: flaw.offset, what: flaw.what });
    let previous_end = u32::try_from(end.offset).expect("a segment is below 4 GiB");
    Ok(Found { recovery, oldest, next: end.id.next(), previous_end })
}

/// A segment's whole content, but for what planted bugs leave out.
async fn read_segment(file: &impl File, bugs: Bugs) -> Result<Vec<u8>, FsError> {
    if bugs.has(Bug::ShortReadAsEnd) {
        let len = usize::try_from(file.len().await?).expect("a segment is below 4 GiB");
        let (read, mut bytes) = file.read_at(0, vec![0; len]).await;
        bytes.truncate(read?);
        return Ok(bytes);
    }
    match read_whole(file).await {
        Err(_) if bugs.has(Bug::ReadErrorAsEnd) => read_up_to_error(file).await,
        read => read,
    }
}

/// Planted: [`Bug::ReadErrorAsEnd`]. What stands before the first place that cannot be read.
async fn read_up_to_error(file: &impl File) -> Result<Vec<u8>, FsError> {
    const STEP: usize = 512;
    let len = file.len().await?;
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < len {
        match file.read_at(bytes.len() as u64, vec![0; STEP]).await {
            (Ok(read), buffer) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => break,
        }
    }
    Ok(bytes)
}

/// The end of a segment must be where its successor's header says.
fn check_seal(previous: &End, id: SegmentId, sealed_at: u32) -> Result<(), JournalError> {
    let what = if previous.id.next() != id {
        "the next segment is missing"
    } else if previous.offset < u64::from(sealed_at) {
        previous.torn.map_or("records are missing at the segment's end", |flaw| flaw.what)
    } else if previous.offset > u64::from(sealed_at) {
        "records stand behind the segment's end"
    } else {
        return Ok(());
    };
    Err(corrupt(&previous.file, Flaw { offset: previous.offset, what }))
}
