//! A reader of every file format, written from `docs/formats.md` and from nothing else of the crate: what it
//! finds in the files of stores must be what was written.

use std::collections::BTreeMap;

use contract::{Engine, Range};
use sim::SimFs;
use storage::{BTree, BTreeOptions, Journal, JournalOptions, LogStore, Lsm, Mode};

use crate::corruption::{Files, build, read_files};
use crate::engines::{self, SOUND};
use crate::ground::{NODE, run, world};
use crate::model::FAMILIES;
use crate::script::Script;

/// Keys behind their families, with values.
type Content = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// Bytes that are read from front to back.
#[derive(Clone)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn fixed(&mut self, len: usize) -> u64 {
        self.take(len).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn varint(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.fixed(1);
            number |= (byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }

    fn string(&mut self) -> &'a [u8] {
        let len = self.varint() as usize;
        self.take(len)
    }
}

fn field(bytes: &[u8], at: usize, len: usize) -> u64 {
    Bytes(&bytes[at..]).fixed(len)
}

/// CRC32C of all parts, one behind the other.
fn crc(parts: &[&[u8]]) -> u64 {
    u64::from(parts.iter().fold(0, |sum, part| crc32c::crc32c_append(sum, part)))
}

struct Record<'a> {
    offset: u64,
    tag: u64,
    payload: &'a [u8],
}

/// The records of a log. It must end with them.
fn log<'a>(bytes: &'a [u8], magic: &[u8; 8], number: u64) -> Vec<Record<'a>> {
    assert_eq!(&bytes[..8], magic);
    assert_eq!((field(bytes, 8, 4), field(bytes, 16, 8), field(bytes, 24, 4)), (1, number, 0));
    assert_eq!(field(bytes, 28, 4), crc(&[&bytes[..28]]));
    let mut records = Vec::new();
    let mut at = 32;
    while at + 16 <= bytes.len() && field(bytes, at + 4, 4) > 0 {
        let record = &bytes[at..at + field(bytes, at + 4, 4) as usize];
        let start = crc(&[magic, &number.to_le_bytes()]) as u32 ^ at as u32;
        assert_eq!(field(record, 0, 4), u64::from(crc32c::crc32c_append(start, &record[4..])), "at {at}");
        assert!(field(record, 8, 4) <= at as u64, "what is durable was written before");
        records.push(Record { offset: at as u64, tag: field(record, 12, 4), payload: &record[16..] });
        at += record.len();
    }
    assert!(bytes[at..].iter().all(|byte| *byte == 0), "behind the records there are zeros");
    records
}

/// Files with a suffix, and their numbers, in order.
fn numbered<'a>(files: &'a Files, suffix: &str) -> BTreeMap<u64, &'a [u8]> {
    let number = |name: &str| name.strip_suffix(suffix)?.parse().ok();
    files.iter().filter_map(|(name, bytes)| Some((number(name)?, &bytes[..]))).collect()
}

/// A key without its family, which is one byte, or of the last family two.
fn split(key: &[u8]) -> (u8, Vec<u8>) {
    let (family, rest) = key.split_first().expect("a family");
    (*family, if *family == 255 { rest[1..].to_vec() } else { rest.to_vec() })
}

fn whole(family: u8, key: &[u8]) -> Vec<u8> {
    if family == 255 { [&[255, 0], key].concat() } else { [&[family], key].concat() }
}

fn delete_range(content: &mut Content, from: &[u8], to: &[u8]) {
    content.retain(|(family, key), _| {
        let key = whole(*family, key);
        key.as_slice() < from || key.as_slice() >= to
    });
}

/// Applies a batch; its sequence number.
fn batch(content: &mut Content, record: &Record<'_>) -> u64 {
    let mut payload = Bytes(record.payload);
    let seq = payload.fixed(8);
    for _ in 0..record.tag {
        let key = payload.string();
        match payload.varint() {
            0 => drop(content.remove(&split(key))),
            1 => delete_range(content, key, payload.string()),
            length => drop(content.insert(split(key), payload.take(length as usize - 2).to_vec())),
        }
    }
    assert!(payload.0.is_empty(), "a batch fills its record");
    seq
}

/// Applies the batches of logs that follow each other.
fn batches(content: &mut Content, logs: &BTreeMap<u64, &[u8]>, magic: &[u8; 8], from: u64, mut seq: u64) {
    for (number, bytes) in logs.range(from..) {
        for record in log(bytes, magic, *number) {
            seq += 1;
            assert_eq!(batch(content, &record), seq, "batches are numbered without gaps");
        }
    }
}

fn filter_says_perhaps(filter: &[u8], key: &[u8]) -> bool {
    let Some((probes, bits)) = filter.split_last() else { return true };
    let mut h = key.len() as u64;
    for word in key.chunks(8) {
        let mut padded = [0; 8];
        padded[..word.len()].copy_from_slice(word);
        h = (h ^ u64::from_le_bytes(padded)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        h ^= h >> 32;
    }
    h = (h ^ h >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ h >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^= h >> 33;
    let s = h.rotate_left(32) | 1;
    (0..u64::from(*probes)).all(|i| {
        let scaled = u128::from(h.wrapping_add(s.wrapping_mul(i))) * (bits.len() as u128 * 8);
        let bit = (scaled >> 64) as usize;
        bits[bit / 8] >> (bit % 8) & 1 == 1
    })
}

/// Applies a table over what is older.
fn table(content: &mut Content, number: u64, bytes: &[u8]) {
    let footer_at = bytes.len() - 64;
    let place = |offset: usize| [number.to_le_bytes(), (offset as u64).to_le_bytes()].concat();
    let checked = |from: usize, to: usize| {
        assert_eq!(field(bytes, to - 4, 4), crc(&[&place(from), &bytes[from..to - 4]]), "{from} to {to}");
        &bytes[from..to - 4]
    };
    let footer = checked(footer_at, bytes.len());
    let at = |field_at| field(footer, field_at, 8) as usize;
    let (ranges_at, filter_at, index_at) = (at(0), at(8), at(16));
    assert_eq!((field(footer, 44, 4), &footer[48..56], field(footer, 56, 4)), (3, &b"SBtable\n"[..], 0));
    let mut ranges = Bytes(checked(ranges_at, filter_at));
    while !ranges.0.is_empty() {
        let from = ranges.string();
        delete_range(content, from, ranges.string());
    }
    let filter = checked(filter_at, index_at);
    let mut index = Bytes(checked(index_at, footer_at));
    let (mut offset, mut blocks, mut entries, mut tombstones) = (0, 0, 0, 0);
    while !index.0.is_empty() {
        let last_key = index.string();
        let len = index.varint() as usize;
        let stored = checked(offset, offset + len);
        let size = field(stored, stored.len() - 4, 4) as usize;
        let stored = &stored[..stored.len() - 4];
        let block = if size == 0 {
            stored.to_vec()
        } else {
            lz4_flex::block::decompress(stored, size).expect("an LZ4 block")
        };
        let restarts = field(&block, block.len() - 4, 4) as usize;
        let mut rest = Bytes(&block[..block.len() - 4 - 4 * restarts]);
        let mut key = Vec::new();
        while !rest.0.is_empty() {
            let (shared, own, value) = (rest.varint() as usize, rest.varint() as usize, rest.varint());
            key.truncate(shared);
            key.extend_from_slice(rest.take(own));
            assert!(filter_says_perhaps(filter, &key), "a filter denies no key");
            entries += 1;
            match value.checked_sub(1) {
                None => {
                    tombstones += 1;
                    content.remove(&split(&key));
                }
                Some(len) => drop(content.insert(split(&key), rest.take(len as usize).to_vec())),
            }
        }
        assert_eq!(key, last_key);
        (offset, blocks) = (offset + len, blocks + 1);
    }
    assert_eq!((offset, blocks), (ranges_at, field(footer, 40, 4)));
    assert_eq!((entries, tombstones), (at(24), at(32)));
}

fn lsm(files: &Files) -> Content {
    let current = &files["CURRENT"];
    assert_eq!((&current[..8], current.len()), (&b"SBlsmcur"[..], 20));
    assert_eq!(field(current, 16, 4), crc(&[&current[..16]]));
    let number = field(current, 8, 8);
    let (mut floor, mut flushed) = (0, 0);
    // By level, then by number.
    let mut tables: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for record in log(numbered(files, ".manifest")[&number], b"SBlsmmf2", number) {
        assert_eq!(record.tag, 0);
        let mut edit = Bytes(record.payload);
        floor = edit.varint();
        flushed = edit.varint();
        let next_file = edit.varint();
        for _ in 0..edit.varint() {
            let removed = edit.varint();
            tables.retain(|(_, number), _| *number != removed);
        }
        for _ in 0..edit.varint() {
            let (level, number, size, _) = (edit.varint(), edit.varint(), edit.varint(), edit.varint());
            let (smallest, end) = (edit.string(), edit.string());
            assert!(number < next_file && smallest < end);
            tables.insert((level, number), size);
        }
        assert!(edit.0.is_empty());
    }
    let mut content = Content::new();
    let bytes = numbered(files, ".table");
    // What is deeper is older; of level 0 what has a lower number is.
    let mut oldest_first: Vec<_> = tables.into_iter().collect();
    oldest_first.sort_by_key(|((level, number), _)| (std::cmp::Reverse(*level), *number));
    for ((_, number), size) in oldest_first {
        assert_eq!(bytes[&number].len() as u64, size);
        table(&mut content, number, bytes[&number]);
    }
    batches(&mut content, &numbered(files, ".wal"), b"SBlsmwl2", floor, flushed);
    content
}

fn log_store(files: &Files) -> Content {
    let (mut content, mut seq, mut from) = (Content::new(), 0, 0);
    if let Some((number, bytes)) = numbered(files, ".merged").pop_last() {
        let records = log(bytes, b"SBlogmg2", number);
        let (last, values) = records.split_last().expect("a trailer");
        let mut trailer = Bytes(last.payload);
        assert_eq!((last.tag, trailer.0.len()), (u64::from(u32::MAX), 28));
        seq = trailer.fixed(8);
        values.iter().for_each(|record| assert_eq!(batch(&mut content, record), seq));
        assert_eq!(trailer.fixed(8), content.len() as u64);
        let hints = log(numbered(files, ".hint")[&number], b"SBloghin", number);
        let (end, hints) = hints.split_last().expect("an end");
        assert_eq!((end.tag, field(end.payload, 0, 8)), (u64::from(u32::MAX), last.offset));
        let parts: Vec<&[u8]> = hints.iter().map(|hint| hint.payload).collect();
        assert_eq!(trailer.fixed(4), crc(&parts));
        let mut hinted = Content::new();
        for hint in hints {
            let mut entries = Bytes(hint.payload);
            for _ in 0..hint.tag {
                let key = split(entries.string());
                let (at, len) = (entries.varint() as usize, entries.varint() as usize);
                assert_eq!(entries.fixed(4), crc(&[&bytes[at..at + len]]));
                hinted.insert(key, bytes[at..at + len].to_vec());
            }
        }
        assert_eq!(hinted, content, "a hint leads to every value");
        from = number + 1;
    }
    batches(&mut content, &numbered(files, ".segment"), b"SBlogseg", from, seq);
    content
}

/// The pages of a data file.
struct Pages<'a>(BTreeMap<u64, &'a [u8]>, usize);

impl<'a> Pages<'a> {
    /// A page in use, whose checksum is looked at; its kind.
    fn page(&self, no: u64) -> (u8, &'a [u8]) {
        let page = self.0[&no];
        assert_eq!(field(page, 0, 4), u64::from(crc32c::crc32c_append(no as u32, &page[4..])), "page {no}");
        assert_eq!((field(page, 4, 4), page[19], field(page, 26, 2)), (no, 0, 0));
        assert!(field(page, 8, 8) > 0, "a group wrote it");
        (page[16], page)
    }

    /// Key and value of a cell behind its lengths.
    fn payload(&self, cell: &mut Bytes<'a>, len: usize) -> Vec<u8> {
        let most = (self.1 - 28) / 4 - 16;
        let mut bytes = cell.take(len.min(most)).to_vec();
        let mut next = if len > most { cell.fixed(4) } else { 0 };
        while next != 0 {
            let (kind, page) = self.page(next);
            assert_eq!(kind, 6);
            let here = (len - bytes.len()).min(self.1 - 32);
            bytes.extend_from_slice(&page[32..32 + here]);
            next = field(page, 28, 4);
        }
        assert_eq!(bytes.len(), len);
        bytes
    }

    fn tree(&self, content: &mut Content, family: u8, no: u64, level: Option<u8>) {
        let (kind, page) = self.page(no);
        assert_eq!((page[18], level.unwrap_or(page[17])), (family, page[17]));
        assert_eq!(kind == 4, page[17] == 0);
        let (mut used, start) = (field(page, 24, 2) as usize, field(page, 22, 2) as usize);
        for i in 0..field(page, 20, 2) as usize {
            let slot = field(page, 28 + 2 * i, 2) as usize;
            let mut cell = Bytes(&page[slot..]);
            let before = cell.0.len();
            if kind == 4 {
                let (key, value) = (cell.varint() as usize, cell.varint() as usize);
                let mut both = self.payload(&mut cell, key + value);
                let value = both.split_off(key);
                content.insert((family, both), value);
            } else {
                let child = cell.fixed(4);
                let key = cell.varint() as usize;
                self.payload(&mut cell, key);
                self.tree(content, family, child, Some(page[17] - 1));
            }
            used += before - cell.0.len();
        }
        assert_eq!(start + used, self.1, "cells and holes fill a page from its end");
    }
}

/// The images in a record of a log of pages.
fn images(payload: &[u8], count: u64) -> BTreeMap<u64, &[u8]> {
    let size = if count == 0 { 1 } else { field(payload, 28 + 8, 4) as usize };
    payload.chunks(size).take(count as usize).map(|page| (field(page, 4, 4), page)).collect()
}

fn btree(files: &Files) -> Content {
    let data = &files["data"];
    let size = field(data, 28 + 8, 4) as usize;
    let mut pages = Pages((0..).zip(data.chunks_exact(size)).collect(), size);
    let mut group = None;
    for (number, bytes) in numbered(files, ".wal") {
        assert!(*group.get_or_insert(number - 1) < number, "a log is named by its first group");
        for record in log(bytes, b"SBbtrwal", number) {
            assert_eq!((record.offset as usize + 16 + record.payload.len()) % 512, 0);
            if record.tag > 0 {
                group = group.map(|group| group + 1);
                assert_eq!(Some(field(record.payload, 0, 8)), group);
                pages.0.extend(images(&record.payload[8..], record.tag));
            }
        }
    }
    if let Some(journal) = files.get("journal").filter(|bytes| bytes[..512].iter().any(|byte| *byte != 0)) {
        let number = field(journal, 16, 8);
        let records = log(journal, b"SBbtjrnl", number);
        if number > field(pages.page(0).1, 8, 8) {
            pages.0.extend(images(records[0].payload, records[0].tag));
        }
    }
    let (kind, meta) = pages.page(0);
    assert_eq!((kind, &meta[28..36], field(meta, 36, 4)), (1, &b"SBbtree1"[..], size as u64));
    let per_page = (size - 28) / 4;
    let mut content = Content::new();
    for family in 0..=255u8 {
        let at = usize::from(family);
        let (kind, roots) = pages.page(1 + (at / per_page) as u64);
        assert_eq!(kind, 2);
        let root = field(roots, 28 + 4 * (at % per_page), 4);
        if root != 0 {
            pages.tree(&mut content, family, root, None);
            let map = 1 + 256usize.div_ceil(per_page) as u64;
            let bits = (size as u64 - 28) * 8;
            let (kind, map) = pages.page(if root < bits { map } else { root / bits * bits });
            let bit = (root % bits) as usize;
            assert_eq!((kind, map[28 + bit / 8] >> (bit % 8) & 1), (3, 1), "a root is in use");
        }
    }
    content
}

fn expected(batches: usize) -> Content {
    let model = Script::new(batches).after(batches);
    let of = |family: contract::Family| {
        model.scan(Range::all().of(family), usize::MAX).into_iter().map(move |(k, v)| ((family.0, k), v))
    };
    FAMILIES.into_iter().flat_map(of).collect()
}

fn reads<E: Engine<Fs = SimFs>>(options: &E::Options, read: fn(&Files) -> Content) {
    for batches in [1, 7, 60, 150, 333] {
        for settled in [false, true] {
            let origin = build::<E>(options, batches, settled);
            let fs = origin.fs(NODE);
            let files = run(&origin, async move { read_files(&fs, "store").await });
            assert!(read(&files) == expected(batches), "{batches} batches, settled: {settled}");
        }
    }
}

#[test]
fn the_files_of_an_lsm() {
    reads::<Lsm<_>>(&engines::lsm(SOUND), lsm);
    reads::<Lsm<_>>(&engines::lsm_tiered(SOUND), lsm);
}

#[test]
fn the_files_of_a_log_structured_store() {
    reads::<LogStore<_>>(&engines::logstore(SOUND), log_store);
}

#[test]
fn the_files_of_a_btree() {
    for mode in [Mode::Wal, Mode::Rollback] {
        reads::<BTree<_>>(&engines::btree(mode, SOUND), btree);
        reads::<BTree<_>>(&BTreeOptions { page_bytes: 4096, ..engines::btree(mode, SOUND) }, btree);
    }
}

#[test]
fn the_files_of_a_journal() {
    let here = world(1, "ideal");
    let fs = here.fs(NODE);
    let files = run(&here, async move {
        let options = JournalOptions { segment_bytes: 300, ..JournalOptions::default() };
        let (journal, _) = Journal::open(fs.clone(), "store", options).await.expect("opens");
        for i in 0..50u8 {
            journal.append(u32::from(i % 3), vec![vec![i; 20]]).await.expect("appends");
        }
        read_files(&fs, "store").await
    });
    let segments = numbered(&files, ".journal");
    let (mut found, mut end) = (Vec::new(), 0);
    for (number, bytes) in &segments {
        assert_eq!(field(bytes, 12, 4), end, "a header says where the segment before it ends");
        let records = log(bytes, b"SBjournl", *number);
        end = records.last().map_or(32, |last| last.offset + 16 + last.payload.len() as u64);
        found.extend(records.iter().map(|record| (record.tag, record.payload.to_vec())));
    }
    assert!(segments.len() > 5);
    assert_eq!(found, (0..50u8).map(|i| (u64::from(i % 3), vec![i; 20])).collect::<Vec<_>>());
}
