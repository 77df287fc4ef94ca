//! What is in a file of a store, in words: for people who look into one.
//!
//! Nothing here changes a file, and nothing needs the rest of the store. A file is told by the magic that
//! it begins with (a table: ends with) and, where a checksum is bound to it, by the number in its name.

use std::fmt::Write;

use crate::batch::{self, Mutation};
use crate::log::{HEADER_BYTES, LogIdentity, LogReader};
use crate::{btree, lsm};

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// What kind of file it is.
    pub kind: &'static str,
    /// Its content, line by line, up to the first flaw.
    pub lines: Vec<String>,
    /// What is wrong with it, and at which byte.
    pub flaw: Option<(u64, &'static str)>,
}

/// A file that no store wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no file of a store: it has none of their magics")]
pub struct NotOurs;

/// Tells what the record of a log of some kind holds.
type Tell = fn(tag: u32, payload: &[u8]) -> Option<String>;

/// Every kind of log.
const LOGS: [(&[u8; 8], &str, Tell); 8] = [
    (b"SBjournl", "segment of a journal", |stream, payload| {
        Some(format!("stream {stream}, {} bytes", payload.len()))
    }),
    (b"SBlsmwl2", "write-ahead log of an LSM", tell_batch),
    (b"SBlsmmf2", "manifest of an LSM", |_, payload| lsm::tell_edit(payload)),
    (b"SBlogseg", "segment of a log-structured store", tell_batch),
    (b"SBlogmg2", "merged segment of a log-structured store", |tag, payload| match tag {
        u32::MAX => Some(format!("trailer, {} bytes", payload.len())),
        tag => tell_batch(tag, payload),
    }),
    (b"SBloghin", "hint of a log-structured store", |tag, payload| match tag {
        u32::MAX => Some("end".to_owned()),
        entries => Some(format!("{entries} entries, {} bytes", payload.len())),
    }),
    (b"SBbtrwal", "write-ahead log of a B-tree", |pages, payload| {
        let group = u64::from_le_bytes(*payload.first_chunk()?);
        Some(if pages == 0 { "a mark".to_owned() } else { format!("group {group}, {pages} pages") })
    }),
    (b"SBbtjrnl", "rollback journal of a B-tree", |pages, _| Some(format!("{pages} pages as they were"))),
];

/// Tells what is in a file of this name and content.
///
/// # Errors
/// If it is none of a store's.
pub fn dump(name: &str, bytes: &[u8]) -> Result<Dump, NotOurs> {
    let magic = bytes.first_chunk::<8>();
    if let Some((magic, kind, tell)) = LOGS.iter().find(|(known, ..)| Some(*known) == magic) {
        return Ok(dump_log(**magic, kind, *tell, bytes));
    }
    if let Some(dump) = btree::dump_pages(bytes).or_else(|| btree::dump_spent_journal(name, bytes)) {
        return Ok(dump);
    }
    if magic == Some(b"SBlsmcur") {
        return Ok(lsm::dump_current(bytes));
    }
    number_in(name).and_then(|number| lsm::dump_table(number, bytes)).ok_or(NotOurs)
}

fn number_in(name: &str) -> Option<u64> {
    let digits = name.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?;
    digits.parse().ok()
}

fn dump_log(magic: [u8; 8], kind: &'static str, tell: Tell, bytes: &[u8]) -> Dump {
    let Some(number) = bytes.get(16..24).and_then(|number| number.first_chunk()) else {
        return Dump { kind, lines: Vec::new(), flaw: Some((0, "header is cut short")) };
    };
    let identity = LogIdentity { magic, number: u64::from_le_bytes(*number) };
    let previous_end = match LogReader::header(identity, bytes) {
        Ok(previous_end) => previous_end,
        Err(flaw) => return Dump { kind, lines: Vec::new(), flaw: Some((flaw.offset, flaw.what)) },
    };
    let mut lines =
        vec![format!("0: header, number {}, the log before it ends at {previous_end}", identity.number)];
    let mut reader = LogReader::new(identity, bytes);
    loop {
        let at = reader.position();
        assert!(at as usize >= HEADER_BYTES, "records stand behind the header");
        let Some(record) = reader.next() else { break };
        let length = reader.position() - at;
        let told = tell(record.tag, record.payload);
        let told = told.unwrap_or_else(|| "a payload that does not decode".to_owned());
        lines.push(format!("{at}: {length} bytes, durable before {}: {told}", record.durable));
    }
    let flaw = match reader.end() {
        Ok(None) => {
            lines.push(format!("{}: end", reader.position()));
            None
        }
        Ok(Some(torn)) => Some((torn.offset, torn.what)),
        Err(corrupt) => Some((corrupt.offset, corrupt.what)),
    };
    Dump { kind, lines, flaw }
}

fn tell_batch(changes: u32, payload: &[u8]) -> Option<String> {
    let (seq, mutations) = batch::decode(changes, payload, |_| ())?;
    let mut text = format!("batch {seq}:");
    for mutation in mutations {
        let _ = match mutation {
            Mutation::Key((key, Some(value))) => write!(text, " {} = {} bytes;", shown(&key), value.len()),
            Mutation::Key((key, None)) => write!(text, " delete {};", shown(&key)),
            Mutation::Range((from, to)) => write!(text, " delete {} to {};", shown(&from), shown(&to)),
        };
    }
    Some(text.trim_end_matches([';', ':']).to_owned())
}

/// A key behind its family, so that people can read it.
pub(crate) fn shown(key: &[u8]) -> String {
    match key.split_first() {
        None => "\"\"".to_owned(),
        Some((family, key)) => format!("{family}/\"{}\"", key.escape_ascii()),
    }
}
