//! What is in the files of a tree, in words.

use super::manifest;
use super::table;
use crate::inspect::{Dump, shown};

/// The edit in a record of a manifest.
pub(crate) fn tell_edit(payload: &[u8]) -> Option<String> {
    let edit = manifest::Edit::decode(payload)?;
    let added = edit.added.iter().map(|(level, meta)| {
        let (from, to) = (shown(&meta.smallest), shown(&meta.end));
        format!("+{} on level {level} ({} bytes, {from} to before {to})", meta.number, meta.bytes)
    });
    let removed = edit.removed.iter().map(|number| format!("-{number}"));
    let tables: Vec<_> = removed.chain(added).collect();
    let (floor, flushed, next) = (edit.log_floor, edit.flushed, edit.next_file);
    Some(format!(
        "logs from {floor}, flushed up to {flushed}, next file {next}; tables: {}",
        tables.join(", ")
    ))
}

/// The file `CURRENT`.
pub(crate) fn dump_current(bytes: &[u8]) -> Dump {
    let kind = "name of the manifest of an LSM";
    match manifest::parse_current(bytes) {
        Some(number) => Dump { kind, lines: vec![format!("manifest {number}")], flaw: None },
        None => Dump { kind, lines: Vec::new(), flaw: Some((0, "checksum does not match")) },
    }
}

/// Table `number`; `None` if it is no table.
pub(crate) fn dump_table(number: u64, bytes: &[u8]) -> Option<Dump> {
    table::dump(number, bytes)
}
