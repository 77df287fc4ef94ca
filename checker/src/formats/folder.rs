//! A folder of histories with known verdicts, which its `expected.tsv` lists.
//!
//! The table has a head line, tabs between its columns, and among these `file`, relative to the folder,
//! and `verdict`, `Ok` or `Illegal`. A column `model` is used where there is one and it is not empty; a
//! column whose name ends in `_ms` has the time that somebody else needed, in milliseconds.

use std::fs;
use std::path::Path;

use super::{FormatError, read, wrong};
use crate::judge::{Budget, Verdict};

/// What is known of a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its file, relative to the folder.
    pub file: String,
    /// Whether it is linearizable.
    pub is_ok: bool,
    /// By which model, if not the one that the history tells.
    pub model: Option<String>,
    /// How long somebody else needed to judge it, in milliseconds.
    pub recorded_ms: Option<f64>,
}

impl Known {
    /// Judges it.
    ///
    /// # Errors
    /// [`FormatError`] names the file.
    pub fn judge(&self, folder: &Path, budget: Budget) -> Result<Verdict, FormatError> {
        let inside = |source| FormatError::In { file: self.file.clone(), source: Box::new(source) };
        let recording = read(&self.file, &text(folder, &self.file)?).map_err(inside)?;
        let model = recording.model(self.model.as_deref()).map_err(inside)?;
        Ok(model.judge(&recording, budget).map_err(inside)?.verdict)
    }

    /// Whether a verdict is what is known. One that does not know is not.
    pub fn agrees(&self, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Ok => self.is_ok,
            Verdict::Violation(_) => !self.is_ok,
            Verdict::Unknown(_) => false,
        }
    }
}

/// What the table of a folder says.
///
/// # Errors
/// [`FormatError`] names the table and its line.
pub fn known(folder: &Path) -> Result<Vec<Known>, FormatError> {
    const TABLE: &str = "expected.tsv";
    let inside = |source| FormatError::In { file: TABLE.to_owned(), source: Box::new(source) };
    let table = text(folder, TABLE)?;
    let mut lines = (1..).zip(table.lines());
    let head: Vec<&str> = lines.next().map_or_else(Vec::new, |(_, head)| head.split('\t').collect());
    let column = |title: &str| head.iter().position(|known| *known == title);
    let (Some(file), Some(verdict)) = (column("file"), column("verdict")) else {
        return Err(inside(wrong(1, "the columns `file` and `verdict`")));
    };
    let model = column("model");
    let recorded = head.iter().position(|title| title.ends_with("_ms"));
    lines
        .filter(|(_, content)| !content.is_empty())
        .map(|(line, content)| {
            let cells: Vec<&str> = content.split('\t').collect();
            let cell = |column: usize| cells.get(column).copied().unwrap_or_default();
            let is_ok = match cell(verdict) {
                "Ok" => true,
                "Illegal" => false,
                other => return Err(inside(wrong(line, format!("Ok or Illegal, found {other}")))),
            };
            Ok(Known {
                file: cell(file).to_owned(),
                is_ok,
                model: model.map(|model| cell(model).to_owned()).filter(|model| !model.is_empty()),
                recorded_ms: recorded.and_then(|recorded| cell(recorded).parse().ok()),
            })
        })
        .collect()
}

fn text(folder: &Path, file: &str) -> Result<String, FormatError> {
    let path = folder.join(file);
    fs::read_to_string(&path).map_err(|source| FormatError::Io { path, source })
}
