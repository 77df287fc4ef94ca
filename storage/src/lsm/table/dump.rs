//! What is in a table, in words.

use super::block::{Block, BlockCursor};
use super::{FOOTER_BYTES, Footer, MAGIC, checked_section, parse_index, parse_ranges};
use crate::inspect::{Dump, shown};

/// Table `number` from its whole content; `None` if it is no table.
pub(in crate::lsm) fn dump(number: u64, bytes: &[u8]) -> Option<Dump> {
    let footer_at = bytes.len().checked_sub(FOOTER_BYTES)?;
    (bytes[footer_at + 48..footer_at + 56] == *MAGIC).then_some(())?;
    let mut lines = Vec::new();
    let flaw = tell(number, footer_at, bytes, &mut lines).err();
    Some(Dump { kind: "table of an LSM", lines, flaw })
}

fn tell(
    number: u64,
    footer_at: usize,
    bytes: &[u8],
    lines: &mut Vec<String>,
) -> Result<(), (u64, &'static str)> {
    let at = |offset: u64| move |what| (offset, what);
    let footer =
        Footer::parse(number, footer_at as u64, &bytes[footer_at..]).map_err(at(footer_at as u64))?;
    let section = |from: u64, to: u64, what| {
        checked_section(number, from, &bytes[from as usize..to as usize]).ok_or((from, what))
    };
    let ranges = section(footer.ranges_at, footer.filter_at, "checksum of range tombstones does not match")?;
    let ranges = parse_ranges(ranges).ok_or((footer.ranges_at, "range tombstones are malformed"))?;
    section(footer.filter_at, footer.index_at, "filter checksum does not match")?;
    let index = section(footer.index_at, footer_at as u64, "index checksum does not match")?;
    let index =
        parse_index(index, footer.ranges_at, footer.blocks).ok_or((footer.index_at, "index is malformed"))?;
    for entry in &index.entries {
        let block = bytes[entry.offset as usize..entry.offset as usize + entry.len].to_vec();
        let block = Block::new(number, entry.offset, block).map_err(at(entry.offset))?;
        lines.push(format!("{}: block of {} bytes, {} in memory", entry.offset, entry.len, block.size()));
        let mut cursor = BlockCursor::default();
        cursor.first(&block).map_err(at(entry.offset))?;
        while !cursor.at_end() {
            let value =
                cursor.value(&block).map_or("deleted".to_owned(), |value| format!("{} bytes", value.len()));
            lines.push(format!("  {}: {value}", shown(cursor.key())));
            cursor.advance(&block).map_err(at(entry.offset))?;
        }
    }
    for (from, to) in ranges.iter() {
        lines.push(format!("{}: deletes {} to {}", footer.ranges_at, shown(from), shown(to)));
    }
    lines.push(format!("{}: filter of {} bytes", footer.filter_at, footer.index_at - footer.filter_at - 4));
    lines.push(format!("{}: index of {} blocks", footer.index_at, footer.blocks));
    let (entries, tombstones) = (footer.entries, footer.key_tombstones);
    lines.push(format!("{footer_at}: footer: {entries} entries, {tombstones} of them tombstones"));
    Ok(())
}
