//! What is in the pages of a store, in words.

use super::header::page_size_in;
use super::page::{Kind, Page, PageNo, SMALLEST};
use super::rollback::SECTOR;
use crate::inspect::Dump;

/// A data file from its whole content; `None` if it is none.
pub(crate) fn dump_pages(bytes: &[u8]) -> Option<Dump> {
    let page_bytes = page_size_in(bytes.get(..SMALLEST)?)?;
    let mut dump = Dump { kind: "data file of a B-tree", lines: Vec::new(), flaw: None };
    for (no, content) in (0..).map(PageNo).zip(bytes.chunks_exact(page_bytes)) {
        let offset = no.index() as u64 * page_bytes as u64;
        if content.iter().all(|byte| *byte == 0) {
            dump.lines.push(format!("{offset}: page {}, never written", no.0));
            continue;
        }
        match Page::check(content, no) {
            Ok(page) => {
                dump.lines.push(format!("{offset}: page {}, group {}: {}", no.0, page.group(), tell(&page)))
            }
            // A free page may hold anything: only the map can tell.
            Err(what) => {
                dump.lines.push(format!("{offset}: page {}: {what}", no.0));
                dump.flaw.get_or_insert((offset, what));
            }
        }
    }
    Some(dump)
}

/// A rollback journal whose group is promised: nothing tells it but its name.
pub(crate) fn dump_spent_journal(name: &str, bytes: &[u8]) -> Option<Dump> {
    let is_spent = name == "journal" && bytes.get(..SECTOR)?.iter().all(|byte| *byte == 0);
    let lines = vec!["0: zeros: there is nothing to roll back".to_owned()];
    is_spent.then_some(Dump { kind: "rollback journal of a B-tree", lines, flaw: None })
}

fn tell(page: &Page) -> String {
    let cells = |what: &str| {
        format!("{what} of family {} at level {}, {} cells", page.family().0, page.level(), page.cells())
    };
    match page.kind() {
        Some(Kind::Meta) => "meta".to_owned(),
        Some(Kind::Roots) => "roots".to_owned(),
        Some(Kind::Map) => "map of pages in use".to_owned(),
        Some(Kind::Leaf) => cells("leaf"),
        Some(Kind::Branch) => cells("branch"),
        Some(Kind::Overflow) => format!("overflow of family {}", page.family().0),
        None => "of no known kind".to_owned(),
    }
}
