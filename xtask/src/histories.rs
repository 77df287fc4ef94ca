//! Judges the histories of a folder that has an `expected.tsv`, and tells how long that took beside the
//! times that the table has of others.

use std::path::Path;

use cpu_time::ProcessTime;
use testbed::checker::Budget;
use testbed::checker::formats::{FormatError, folder};

/// Each history is read and judged so often; the shortest time counts.
const TIMES: usize = 5;

/// Prints a line for each history. Whether all verdicts are as expected.
pub(crate) fn judge(path: &Path) -> Result<bool, FormatError> {
    if cfg!(debug_assertions) {
        eprintln!("these are times of an unoptimised build: use `cargo run --release -p xtask -- histories`");
    }
    let known = folder::known(path)?;
    println!("{:<28} {:>10} {:>12} {:>12}", "history", "", "ms", "recorded ms");
    let (mut disagreements, mut sum, mut recorded_sum) = (0, 0.0, 0.0);
    for history in &known {
        let mut best = f64::INFINITY;
        let mut verdict = None;
        for _ in 0..TIMES {
            let start = ProcessTime::now();
            verdict = Some(history.judge(path, Budget::default())?);
            best = best.min(start.elapsed().as_secs_f64() * 1e3);
        }
        let verdict = verdict.expect("it was judged at least once");
        let agrees = history.agrees(&verdict);
        let recorded = history.recorded_ms.map_or("-".to_owned(), |ms| format!("{ms:.3}"));
        let mark = if agrees { "agrees" } else { "DISAGREES" };
        println!("{:<28} {mark:>10} {best:>12.3} {recorded:>12}", history.file);
        if !agrees {
            let expected = if history.is_ok { "ok" } else { "a violation" };
            println!("  expected {expected}, found {verdict}");
            disagreements += 1;
        }
        sum += best;
        recorded_sum += history.recorded_ms.unwrap_or(0.0);
    }
    println!("{:<28} {:>10} {sum:>12.3} {recorded_sum:>12.3}", "sum", "");
    println!("{disagreements} of {} disagree", known.len());
    Ok(disagreements == 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_verdict_that_is_not_as_expected_is_found() {
        let folder = std::env::temp_dir().join(format!("seedbed-histories-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder that can be written to");
        let write = |file: &str, text: &str| fs::write(folder.join(file), text).expect("a folder");
        write("empty.jsonl", "{\"history\":1,\"model\":\"kv\"}");
        write("expected.tsv", "file\tverdict\tmine_ms\nempty.jsonl\tOk\t0.5\n");
        assert!(judge(&folder).expect("it can be read"));
        write("expected.tsv", "file\tverdict\nempty.jsonl\tIllegal\n");
        assert!(!judge(&folder).expect("it can be read"));
        write("expected.tsv", "file\tverdict\nempty.jsonl\tmaybe\n");
        let error = judge(&folder).expect_err("no verdict").to_string();
        assert_eq!(error, "expected.tsv: line 2: expected Ok or Illegal, found maybe");
        fs::remove_dir_all(&folder).expect("it was there");
    }
}
