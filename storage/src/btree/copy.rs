//! Copying a store as it was at one moment, page by page.
//!
//! Nothing is shared: the data file changes in place. Every page is sealed anew, as of the copy's first
//! group.

use contract::{EngineError, File, Fs};

use super::BTree;
use super::page::{Page, PageNo};
use super::recovery::NewStore;
use super::search::Pages;
use super::snapshot::BTreeSnapshot;
use crate::paths::create_dir_durably;

/// Pages that are written with one request.
const PAGES_AT_ONCE: usize = 64;

fn sealed(mut page: Page) -> Page {
    page.forget_group();
    page.seal(1);
    page
}

pub(super) async fn copy<F: Fs>(
    engine: &BTree<F>,
    snapshot: &BTreeSnapshot<F>,
    dir: &str,
) -> Result<(), EngineError> {
    let (fs, header) = (&engine.0.fs, snapshot.header());
    assert!(dir != &*engine.0.dir, "a copy is another store");
    create_dir_durably(fs, dir).await?;
    let new = NewStore::begin(fs, dir, header).await?;
    let mut bytes = new.file.write(&header.encode(None).into_iter().map(sealed).collect::<Vec<_>>()).await?;
    assert!(header.free() < header.pages(), "pages of fixed places are in use");
    let used: Vec<_> = (0..header.pages()).map(PageNo).filter(|no| header.is_used(*no)).collect();
    for chunk in used.chunks(PAGES_AT_ONCE) {
        let mut pages = Vec::with_capacity(chunk.len());
        for no in chunk.iter().filter(|no| !header.is_fixed(**no)) {
            pages.push(sealed(snapshot.page(*no).await?));
        }
        bytes += new.file.write(&pages).await?;
    }
    engine.count(|stats| stats.bytes_written_to_files += bytes);
    // No log has what is in it: a flush that failed and tells so late (see `sync_for_good`) would tell whoever opens the
    // copy. So it is flushed twice, here and at its end.
    new.file.file.sync_data().await?;
    new.finish(fs, dir, engine.0.options.bugs).await
}
