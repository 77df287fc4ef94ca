//! The rollback journal: what the pages of a group were before it.
//!
//! The file `journal` is a log (see the crate's `log` module) with magic `SBbtjrnl`, the group's number
//! as its own, and one record with tag = number of pages, and as payload these pages, the meta page
//! first, as the data file had them, and zeros up to a whole sector. The file is used again for each
//! group; it begins with a sector of zeros once the group is promised.
//!
//! A page that was free before the group has no content that matters, and is not in the journal; one
//! that the group freed and used again is.
//!
//! Where recovery writes the last group again, as the next one, another record follows: a mark, with tag 0 and
//! zeros up to a whole sector. The data file may have lost all of the group before, the meta page too, at a crash:
//! so the meta page may be of any earlier group, and what the journal holds makes the group whole.

use std::collections::BTreeMap;
use std::rc::Rc;

use contract::{Bug, EngineError, File, Fs, OpenMode};

use super::BTree;
use super::commit::Group;
use super::header::page_size_in;
use super::page::{Page, PageNo};
use crate::log::{LogIdentity, LogReader, RECORD_HEADER_BYTES, Tail};

/// The tag of a mark: a record of no pages.
const MARK: u32 = 0;

/// What a power loss leaves whole of a write that was not flushed, at most.
pub(super) const SECTOR: usize = 512;

pub(super) fn path(dir: &str) -> String {
    format!("{dir}/journal")
}

fn identity(group: u64) -> LogIdentity {
    LogIdentity { magic: *b"SBbtjrnl", number: group }
}

/// The journal of a store that is open.
pub(super) struct Rollback<F: Fs> {
    /// `None` until the first group.
    file: Option<F::File>,
    reserved: u64,
    /// Pages of fixed places as the data file has them.
    fixed: BTreeMap<PageNo, Page>,
}

/// Appends zeros so that a record that begins at `position` ends with a sector.
pub(super) fn fill_sector(position: u64, payload_from: usize, buffer: &mut Vec<u8>) {
    let payload = buffer.len() - payload_from;
    let end = position as usize + RECORD_HEADER_BYTES + payload;
    let filled = end.next_multiple_of(SECTOR);
    assert!(filled - end < SECTOR, "a record is filled up to its sector, not beyond");
    buffer.resize(buffer.len() + filled - end, 0);
}

impl<F: Fs> Rollback<F> {
    /// `fixed`: pages of fixed places as the data file has them.
    pub(super) fn new(fixed: Vec<Page>) -> Self {
        Self { file: None, reserved: 0, fixed: fixed.into_iter().map(|page| (page.no(), page)).collect() }
    }
}

impl<F: Fs> BTree<F> {
    /// Writes a group into the data file, so that a crash leaves all of it or nothing.
    pub(super) async fn commit_in_place(
        &self,
        rollback: &mut Rollback<F>,
        mut group: Group,
    ) -> Result<(), EngineError> {
        let mut originals = std::mem::take(&mut group.originals);
        let fixed = group.pages.iter().filter_map(|page| rollback.fixed.get_key_value(&page.no()));
        originals.extend(fixed.map(|(no, page)| (*no, page.clone())));
        let journal = self.write_journal(rollback, group.number, &originals).await?;
        if !self.0.options.bugs.has(Bug::RollbackJournalNotSynced) {
            journal.sync_data().await?;
        }

        let data = &self.0.data;
        let (meta, others) = group.pages.split_first().expect("every group has the meta page");
        assert_eq!(meta.no(), PageNo(0), "the first page is the meta page");
        assert!(others.iter().chain([meta]).all(|page| page.group() == group.number), "a group is sealed");
        let mut written = data.write(others).await?;
        data.file.sync_data().await?;
        written += data.write(std::slice::from_ref(meta)).await?;
        data.file.sync_data().await?;
        self.count(|stats| stats.bytes_written_to_files += written);

        // Without a flush: it is for later damage only.
        journal.write_at(0, vec![0; SECTOR]).await.0?;
        self.count(|stats| stats.bytes_written_to_files += SECTOR as u64);
        let header = Rc::clone(&self.0.state.borrow().grouped);
        for page in group.pages.into_iter().filter(|page| header.is_fixed(page.no())) {
            rollback.fixed.insert(page.no(), page);
        }
        data.trim(group.store_pages, header.page_bytes()).await
    }

    async fn write_journal(
        &self,
        rollback: &mut Rollback<F>,
        group: u64,
        originals: &BTreeMap<PageNo, Page>,
    ) -> Result<F::File, EngineError> {
        let content = encode(group, originals.values(), Before::IsDurable);
        let end = content.len() as u64;
        let (file, is_new) = match &rollback.file {
            Some(file) => (file.clone(), false),
            None => (self.0.fs.open(&path(&self.0.dir), OpenMode::Truncate).await?, true),
        };
        if end > rollback.reserved {
            rollback.reserved = end.next_multiple_of(64 * self.0.options.page_bytes as u64);
            file.allocate(rollback.reserved).await?;
        }
        file.write_at(0, content).await.0?;
        self.count(|stats| stats.bytes_written_to_files += end);
        if is_new {
            // Its name must be durable before the data file is touched: the data is, by the caller's flush.
            self.0.fs.sync_dir(&self.0.dir).await?;
            rollback.file = Some(file.clone());
        }
        Ok(file)
    }
}

/// What is known of the group before the one that a journal is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// The data file has it.
    IsDurable,
    /// The journal has all of its pages: the data file may lose any of them.
    IsHere,
}

/// The whole journal of a group: what the pages that it overwrites were before it, in ascending order.
pub(super) fn encode<'a>(
    group: u64,
    before: impl ExactSizeIterator<Item = &'a Page> + Clone,
    group_before: Before,
) -> Vec<u8> {
    assert!(before.clone().all(|page| (1..group).contains(&page.group())), "what is kept was written");
    assert_eq!(before.clone().next().map(Page::no), Some(PageNo(0)), "a journal has the meta page first");
    let mut tail = Tail::new(identity(group), 0);
    let position = tail.position();
    let count = u32::try_from(before.len()).expect("fewer pages than a store can have");
    tail.push(count, |buffer| {
        let from = buffer.len();
        before.clone().for_each(|page| buffer.extend_from_slice(page.bytes()));
        fill_sector(position, from, buffer);
    });
    if group_before == Before::IsHere {
        assert!(
            before.clone().all(|page| page.group() + 1 == group),
            "all of the group before is written again"
        );
        let position = tail.position();
        tail.push(MARK, |buffer| fill_sector(position, buffer.len(), buffer));
    }
    let (offset, content) = tail.take();
    assert_eq!((offset, content.len() % SECTOR), (0, 0), "a journal is whole sectors");
    content
}

/// What a journal that was found has in it.
pub(super) enum Found {
    /// Nothing, or it was struck out.
    Nothing,
    /// The pages before a group.
    Pages(u64, Vec<Page>, Before),
    /// No whole record, though something is there: a journal that was never complete, or was damaged.
    Torn,
}

/// Reads a journal.
pub(super) fn read(bytes: &[u8]) -> Result<Found, (u64, &'static str)> {
    let head = &bytes[..bytes.len().min(SECTOR)];
    if head.iter().all(|byte| *byte == 0) {
        return Ok(Found::Nothing);
    }
    let number =
        bytes.get(16..24).map_or(0, |field| u64::from_le_bytes(field.try_into().expect("eight bytes")));
    if LogReader::header(identity(number), bytes).is_err() {
        return Ok(Found::Torn);
    }
    let mut reader = LogReader::new(identity(number), bytes);
    let offset = reader.position();
    let Some(record) = reader.next() else { return Ok(Found::Torn) };
    let pages = decode(record.tag, record.payload).ok_or((offset, "journal is malformed"))?;
    let is_marked = reader.next().is_some_and(|record| record.tag == MARK);
    Ok(Found::Pages(number, pages, if is_marked { Before::IsHere } else { Before::IsDurable }))
}

/// The pages in a record's payload.
pub(super) fn decode(count: u32, payload: &[u8]) -> Option<Vec<Page>> {
    let page_bytes = page_size_in(payload)?;
    let images = payload.get(..(count as usize).checked_mul(page_bytes)?)?;
    let page = |image: &[u8]| {
        let no = PageNo(u32::from_le_bytes(image[4..8].try_into().expect("four bytes")));
        Page::check(image, no).ok()
    };
    let pages: Vec<Page> = images.chunks(page_bytes).map(page).collect::<Option<_>>()?;
    let ascending = pages.is_sorted_by(|a, b| a.no() < b.no());
    let begins_with_meta = pages.first().is_some_and(|page| page.no() == PageNo(0));
    (ascending && begins_with_meta).then_some(pages)
}
