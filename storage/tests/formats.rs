//! The page about file formats says what the code says.

use std::fs;
use std::path::Path;

/// Every table in the module documents of the crate stands in the page too.
#[test]
fn every_table_of_the_source_stands_in_the_page() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let page = fs::read_to_string(source.join("../../docs/formats.md")).expect("the page is there");
    let mut files = vec![source];
    let mut rows = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        for row in text.lines().filter_map(|line| line.strip_prefix("//! |")) {
            // Links to modules are links to sections there.
            if row.contains("`log` module")
                || row.contains("module;")
                || row.contains("see `")
                || row.contains("see the `")
            {
                continue;
            }
            assert!(page.contains(row), "docs/formats.md lacks a row of {}: |{row}", path.display());
            rows += 1;
        }
    }
    assert!(rows > 100, "only {rows} rows were found");
}
