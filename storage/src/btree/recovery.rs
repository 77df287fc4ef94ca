//! Opening a store: finishing or undoing what a crash interrupted.
//!
//! Files that are found are made durable before they are believed: after the death of a process alone they
//! may have content that the next power loss takes away, and after a failed flush another does not mend that.
//! At the end there is one file, `data`, and the header in it is what it was after some group.
//!
//! A new store is written as `data.new`, flushed and renamed, so `data` is never half a store.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use contract::{Bug, Bugs, EngineError, EngineStats, File, Fs, OpenMode, TornTail};
use futures::lock::Mutex;

use super::commit::Bell;
use super::header::{Header, page_size_in};
use super::history::History;
use super::load::{DataFile, Loads, data_path};
use super::page::{Page, PageNo, SMALLEST};
use super::pool::Pool;
use super::rollback::{self, Before, Found, Rollback};
use super::vacuum::Sweep;
use super::wal::{self, Recorded, Wals};
use super::{BTree, BTreeOptions, Mode, Shared, State};
use crate::latch::Latch;
use crate::log::{LogReader, read_whole};
use crate::paths::{self, NEW, numbered};

/// Pages that are read with one request where all are read.
const PAGES_AT_ONCE: u32 = 64;

pub(super) async fn open<F: Fs>(
    fs: &F,
    dir: &str,
    mut options: BTreeOptions,
) -> Result<BTree<F>, EngineError> {
    paths::create_dir_durably(fs, dir).await?;
    let names = fs.list(dir).await?;
    paths::refuse_others(dir, &names, |name| {
        let name = name.strip_suffix(NEW).unwrap_or(name);
        name == "data" || name == "journal" || numbered(name, ".wal").is_some()
    })?;
    let has = |name: &str| names.iter().any(|other| other == name);
    let logs: BTreeSet<u64> = names.iter().filter_map(|name| numbered(name, ".wal")).collect();
    for unfinished in names.iter().filter(|name| name.ends_with(NEW)) {
        fs.remove(&format!("{dir}/{unfinished}")).await?;
    }
    if !has("data") {
        if has("journal") || !logs.is_empty() {
            let file = data_path(dir).into();
            return Err(EngineError::Corrupt { file, offset: 0, what: "data file is missing" });
        }
        let header = Header::new(options.page_bytes);
        let mut pages = header.encode(None);
        pages.iter_mut().for_each(|page| page.seal(1));
        let new = NewStore::begin(fs, dir, &header).await?;
        new.file.write(&pages).await?;
        new.finish(fs, dir, options.bugs).await?;
    }
    let path = data_path(dir);
    let file = fs.open(&path, OpenMode::Existing).await?;
    let len = file.len().await?;
    let data = DataFile::<F>::new(path, file, len);
    // Where an earlier flush failed and nobody was told, who opens the store is, and not who writes first.
    data.file.sync_data().await?;
    let torn_tails =
        if logs.is_empty() { Vec::new() } else { replay(fs, dir, &data, &logs, options.bugs).await? };
    if has("journal") {
        roll_back(fs, dir, &data).await?;
    }
    let (header, fixed) = read_header(&data).await?;
    options.page_bytes = header.page_bytes();
    let group = fixed[0].group();
    assert!(group > 0, "groups are numbered from 1");
    let header = Rc::new(header);
    let state = State {
        seq: 0,
        durable: 0,
        group,
        grouped: Rc::clone(&header),
        header,
        pool: Pool::new(options.pool_bytes, options.page_bytes),
        dirty: BTreeSet::new(),
        originals: (options.mode == Mode::Rollback).then(BTreeMap::new),
        history: History::default(),
        loads: Loads::default(),
        wals: Wals::default(),
    };
    Ok(BTree(Rc::new(Shared {
        fs: fs.clone(),
        dir: dir.into(),
        options,
        data,
        state: RefCell::new(state),
        latch: Latch::new(dir),
        torn_tails,
        writing: Mutex::new(()),
        committing: Mutex::new(Rollback::new(fixed)),
        bell: Bell::default(),
        maintaining: Mutex::new(Sweep::default()),
        stats: Cell::new(EngineStats::default()),
    })))
}

/// A store that is being written, under another name.
pub(super) struct NewStore<F: Fs> {
    pub(super) file: DataFile<F>,
}

impl<F: Fs> NewStore<F> {
    pub(super) async fn begin(fs: &F, dir: &str, header: &Header) -> Result<Self, EngineError> {
        let path = format!("{dir}/data.new");
        let file = fs.open(&path, OpenMode::Truncate).await?;
        let len = u64::from(header.pages()) * header.page_bytes() as u64;
        file.allocate(len).await?;
        Ok(Self { file: DataFile::new(path, file, len) })
    }

    /// Makes it durable, and gives it its name.
    pub(super) async fn finish(self, fs: &F, dir: &str, bugs: Bugs) -> Result<(), EngineError> {
        self.file.file.sync_data().await?;
        fs.rename(&self.file.path, &data_path(dir)).await?;
        if !bugs.has(Bug::RenameNotSynced) {
            fs.sync_dir(dir).await?;
        }
        Ok(())
    }
}

/// Reads a page's bytes; fewer at the end of the file.
async fn read_at<F: Fs>(data: &DataFile<F>, offset: u64, len: usize) -> Result<Vec<u8>, EngineError> {
    Ok(crate::read::read_at(&data.file, offset, len).await?)
}

/// The meta page, or what is wrong with it.
async fn read_meta<F: Fs>(data: &DataFile<F>) -> Result<Result<Page, &'static str>, EngineError> {
    let Some(page_bytes) = page_size_in(&read_at(data, 0, SMALLEST).await?) else {
        return Ok(Err("not the meta page of a store"));
    };
    let bytes = read_at(data, 0, page_bytes).await?;
    if bytes.len() < page_bytes {
        return Ok(Err("file ends within the meta page"));
    }
    Ok(Page::check(&bytes, PageNo(0)))
}

/// The header, and the pages it is in, the meta page first.
async fn read_header<F: Fs>(data: &DataFile<F>) -> Result<(Header, Vec<Page>), EngineError> {
    let meta = read_meta(data).await?.map_err(|what| data.corrupt(PageNo(0), SMALLEST, what))?;
    let corrupt = |no, what| data.corrupt(no, meta.size(), what);
    let begun = Header::begin(&meta);
    let mut header = begun.ok_or_else(|| corrupt(PageNo(0), "not the meta page of a store"))?;
    let mut pages = vec![meta.clone()];
    for no in header.parts() {
        let bytes = read_at(data, u64::from(no.0) * meta.size() as u64, meta.size()).await?;
        if bytes.len() < meta.size() {
            return Err(corrupt(no, "file ends within the page"));
        }
        let page = Page::check(&bytes, no).map_err(|what| corrupt(no, what))?;
        if page.group() > meta.group() {
            return Err(corrupt(no, "page is of a group that never was"));
        }
        header.add(&page).map_err(|what| corrupt(no, what))?;
        pages.push(page);
    }
    header.finish().map_err(|what| corrupt(PageNo(0), what))?;
    Ok((header, pages))
}

/// Undoes the group that was under way, if one was.
async fn roll_back<F: Fs>(fs: &F, dir: &str, data: &DataFile<F>) -> Result<(), EngineError> {
    let path = rollback::path(dir);
    let journal = fs.open(&path, OpenMode::Existing).await?;
    let corrupt = |offset, what| EngineError::Corrupt { file: path.as_str().into(), offset, what };
    let bytes = read_whole(&journal).await?;
    let meta = read_meta(data).await?;
    match (rollback::read(&bytes).map_err(|(offset, what)| corrupt(offset, what))?, meta) {
        (Found::Nothing, _) => {}
        (Found::Torn, Ok(meta)) => refuse_later_groups(data, &meta).await?,
        (Found::Torn, Err(what)) => return Err(data.corrupt(PageNo(0), SMALLEST, what)),
        (Found::Pages(group, before, _), Ok(meta)) if meta.group() == group => {
            commit_again(fs, &path, data, &before).await?;
        }
        (Found::Pages(group, ..), Ok(meta)) if meta.group() > group => {}
        (Found::Pages(group, before, group_before), meta) => {
            let is_lost = |meta: &Page| group_before == Before::IsHere && meta.group() < before[0].group();
            let fits = meta.map_or(true, |meta| meta == before[0] || is_lost(&meta));
            if before[0].group() + 1 != group || !fits {
                return Err(corrupt(0, "journal is of another time than the data file"));
            }
            paths::rewrite(fs, &path, &bytes).await?;
            data.write(&before).await?;
            data.sync_for_good().await?;
        }
    }
    fs.remove(&path).await?;
    fs.sync_dir(dir).await?;
    Ok(())
}

/// The last group was written, and its journal not struck out: its flushes may have failed, so that what
/// can be read of it is in the page cache alone. It is written again as the next group, behind a journal of
/// its own, which has all of its pages. `before`: what the group replaced.
async fn commit_again<F: Fs>(
    fs: &F,
    journal: &str,
    data: &DataFile<F>,
    before: &[Page],
) -> Result<(), EngineError> {
    let (header, fixed) = read_header(data).await?;
    let (group, page_bytes) = (fixed[0].group(), header.page_bytes());
    let earlier = header_before(before, &fixed).map_err(|what| EngineError::Corrupt {
        file: journal.into(),
        offset: 0,
        what,
    })?;
    let replaced: BTreeSet<PageNo> = before.iter().map(Page::no).collect();
    let mut pages = Vec::new();
    for no in (0..header.pages()).map(PageNo).filter(|no| header.is_used(*no)) {
        if !replaced.contains(&no) && earlier.is_used(no) {
            continue;
        }
        let bytes = read_at(data, u64::from(no.0) * page_bytes as u64, page_bytes).await?;
        let page =
            if bytes.len() < page_bytes { Err("file ends within the page") } else { Page::check(&bytes, no) };
        let page = page.map_err(|what| data.corrupt(no, page_bytes, what))?;
        if page.group() != group {
            return Err(data.corrupt(no, page_bytes, "page is of an earlier group than its journal says"));
        }
        pages.push(page);
    }
    assert!(pages.is_sorted_by(|a, b| a.no() < b.no()), "pages are read in order");
    paths::rewrite(fs, journal, &rollback::encode(group + 1, pages.iter(), Before::IsHere)).await?;
    pages.iter_mut().for_each(|page| page.seal(group + 1));
    let (meta, others) = pages.split_first().expect("every group has the meta page");
    data.write(others).await?;
    data.sync_for_good().await?;
    data.write(std::slice::from_ref(meta)).await?;
    data.sync_for_good().await
}

/// The header before a group that replaced these pages, where the pages of fixed places are `fixed` now.
fn header_before(before: &[Page], fixed: &[Page]) -> Result<Header, &'static str> {
    let mut header = Header::begin(&before[0]).ok_or("not the meta page of a store")?;
    for no in header.parts() {
        let is_it = |page: &&Page| page.no() == no;
        let page = before.iter().find(is_it).or_else(|| fixed.iter().find(is_it));
        header.add(page.ok_or("a page of a fixed place is missing")?)?;
    }
    header.finish()?;
    Ok(header)
}

/// A journal that is not whole was never complete, unless the data file has pages of its group.
async fn refuse_later_groups<F: Fs>(data: &DataFile<F>, meta: &Page) -> Result<(), EngineError> {
    let (header, _) = read_header(data).await?;
    let page_bytes = header.page_bytes();
    for first in (0..header.pages()).step_by(PAGES_AT_ONCE as usize) {
        let bytes =
            read_at(data, u64::from(first) * page_bytes as u64, PAGES_AT_ONCE as usize * page_bytes).await?;
        for (no, page) in (first..header.pages()).map(PageNo).zip(bytes.chunks_exact(page_bytes)) {
            let group = u64::from_le_bytes(page[8..16].try_into().expect("eight bytes"));
            if header.is_used(no) && group > meta.group() {
                return Err(data.corrupt(
                    no,
                    page_bytes,
                    "page is of a later group than the store, and its journal is not whole",
                ));
            }
        }
    }
    Ok(())
}

/// What was read from logs.
struct Replay {
    /// The last group.
    last: u64,
    /// The last content of each page.
    images: BTreeMap<PageNo, Page>,
    /// Where the intact records of the log before the next one end.
    before: Option<Place>,
    /// The first place where a log is not whole. A mark may have been there.
    flaw: Option<Place>,
    /// Where the first group is missing.
    gap: Option<Place>,
    /// Where each log was cut, behind the last group that counts.
    torn: Vec<Place>,
    /// Logs, and what they held, of which nothing says that it was durable to its last group.
    unvouched: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone, Copy)]
struct Place {
    log: u64,
    offset: u64,
    what: &'static str,
}

impl Place {
    fn corrupt(self, dir: &str) -> EngineError {
        wal::corrupt(dir, self.log, self.offset, self.what)
    }
}

/// Copies what is whole in the logs into the data file; what does not count of them.
async fn replay<F: Fs>(
    fs: &F,
    dir: &str,
    data: &DataFile<F>,
    logs: &BTreeSet<u64>,
    bugs: Bugs,
) -> Result<Vec<TornTail>, EngineError> {
    let oldest = *logs.first().expect("there are logs");
    let meta = read_meta(data).await?;
    // A log before the oldest may be gone that nobody flushed, name and all: then groups are missing
    // between the data file and the oldest log.
    let before = oldest.saturating_sub(1);
    let before = meta.as_ref().map_or(before, |meta| before.min(meta.group()));
    let mut replay = Replay::new(before);
    for &number in logs {
        let file = fs.open(&wal::path(dir, number), OpenMode::Existing).await?;
        let bytes = read_whole(&file).await?;
        replay.read(dir, number, &bytes)?;
    }
    let Replay { last, images, flaw, gap, torn, unvouched, .. } = replay;
    let missing = |what| match gap.or(flaw) {
        Some(Place { log, offset, .. }) => wal::corrupt(dir, log, offset, what),
        None => wal::corrupt(dir, oldest, 0, what),
    };
    match meta {
        Ok(meta) if meta.group() > last => {
            return Err(missing("the data file has groups that the logs have lost"));
        }
        Err(what) if images.is_empty() => return Err(data.corrupt(PageNo(0), SMALLEST, what)),
        _ => {}
    }
    let unvouched = if bugs.has(Bug::RecoveryNotDurable) { Vec::new() } else { unvouched };
    for (number, bytes) in unvouched {
        paths::rewrite(fs, &wal::path(dir, number), &bytes).await?;
    }
    let mut images: Vec<Page> = images.into_values().collect();
    if let Some(header) = images.first().and_then(Header::begin) {
        images.retain(|page| page.no().0 < header.pages());
        if bugs.has(Bug::TornPageBelieved) {
            leave_out_what_looks_copied(data, &mut images).await?;
        }
        data.write(&images).await?;
        data.sync_for_good().await?;
        data.trim(header.pages(), header.page_bytes()).await?;
    }
    // One by one: if a crash kept an older one and not a later one, groups would seem to be missing between them.
    for number in logs {
        fs.remove(&wal::path(dir, *number)).await?;
        fs.sync_dir(dir).await?;
    }
    let told = |Place { log, offset, what }| TornTail { file: wal::path(dir, log).into(), offset, what };
    Ok(torn.into_iter().map(told).collect())
}

/// Planted: [`Bug::TornPageBelieved`].
async fn leave_out_what_looks_copied<F: Fs>(
    data: &DataFile<F>,
    images: &mut Vec<Page>,
) -> Result<(), EngineError> {
    for i in (0..images.len()).rev() {
        let offset = u64::from(images[i].no().0) * images[i].size() as u64;
        if read_at(data, offset + 8, 8).await? == images[i].group().to_le_bytes() {
            images.remove(i);
        }
    }
    Ok(())
}

impl Replay {
    /// `last`: the last group that is in the data file for certain.
    fn new(last: u64) -> Self {
        let (images, torn, unvouched) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { last, images, before: None, flaw: None, gap: None, torn, unvouched }
    }

    /// Takes a log's groups, up to the first that is missing.
    fn read(&mut self, dir: &str, number: u64, bytes: &[u8]) -> Result<(), EngineError> {
        let identity = wal::identity(number);
        let (mut reader, vouched) = match LogReader::header(identity, bytes) {
            Ok(before) => (LogReader::new(identity, bytes), u64::from(before)),
            Err(_) => (LogReader::headless(identity, bytes), 0),
        };
        if vouched > 0 {
            self.check_before(dir, vouched)?;
        }
        let (mut end, mut cut) = (0, None);
        loop {
            let offset = reader.position();
            let Some(record) = reader.next() else { break };
            let corrupt = |what| wal::corrupt(dir, number, offset, what);
            let recorded =
                wal::decode(record.tag, record.payload).ok_or_else(|| corrupt("group is malformed"))?;
            if let Recorded::Group(group, pages) = recorded {
                if group <= self.last {
                    return Err(corrupt("groups are out of order"));
                }
                if group != self.last + 1 && self.gap.is_none() {
                    let here = Place { log: number, offset, what: "groups before this one are missing" };
                    self.gap = Some(self.flaw.unwrap_or(here));
                }
                if self.gap.is_none() {
                    self.images.extend(pages.into_iter().map(|page| (page.no(), page)));
                    self.last = group;
                    end = reader.position();
                    // What was not whole before it was a mark.
                    self.torn.clear();
                } else {
                    let what = "groups before this one are missing";
                    cut.get_or_insert(Place { log: number, offset, what });
                }
            }
            if let Some(gap) = self.gap.filter(|_| record.durable > 0 || vouched > 0) {
                // A log is flushed only after those before it.
                return Err(gap.corrupt(dir));
            }
        }
        let torn = reader.end().map_err(|flaw| wal::corrupt(dir, number, flaw.offset, flaw.what))?;
        if let Some(flaw) = torn {
            let here = Place { log: number, offset: flaw.offset, what: flaw.what };
            self.flaw.get_or_insert(here);
            cut.get_or_insert(here);
        }
        self.torn.extend(cut);
        if vouched > 0 || reader.durable() > 0 {
            self.unvouched.clear();
        }
        let what = torn.map_or("groups are missing at the log's end", |flaw| flaw.what);
        self.before = Some(Place { log: number, offset: reader.position(), what });
        if end > reader.durable() {
            self.unvouched.push((number, reader.used().to_vec()));
        }
        Ok(())
    }

    /// The next log says that the one before it was durable up to here, and all logs before that.
    fn check_before(&self, dir: &str, durable: u64) -> Result<(), EngineError> {
        match (self.before, self.gap) {
            (Some(end), _) if end.offset < durable => Err(end.corrupt(dir)),
            (_, Some(gap)) => Err(gap.corrupt(dir)),
            _ => Ok(()),
        }
    }
}
