//! Numbers and tables as people read them.

use std::time::Duration;

/// A count with its thousands set apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A time span with three digits that count.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s >= 48.0 * 3600.0 => format!("{} days", short(s / 86_400.0)),
        s if s >= 2.0 * 3600.0 => format!("{} h", short(s / 3600.0)),
        s if s >= 120.0 => format!("{} min", short(s / 60.0)),
        s if s >= 1.0 => format!("{} s", short(s)),
        s if s >= 1e-3 => format!("{} ms", short(s * 1e3)),
        s => format!("{} us", short(s * 1e6)),
    }
}

/// A number of bytes with three digits that count.
pub(crate) fn bytes(number: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = (number.max(1).ilog2() / 10).min(4);
    let scaled = number as f64 / (1_u64 << (10 * power)) as f64;
    format!("{} {}", short(scaled), units[power as usize])
}

/// A number with three digits that count.
pub(crate) fn short(number: f64) -> String {
    match number {
        n if n >= 100.0 => count(n.round() as u64),
        n if n >= 10.0 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}

/// Part of a whole in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let share = part as f64 * 100.0 / whole as f64;
    match share {
        // What is rare is not nothing, and what is frequent is not always.
        s if part > 0 && s < 0.05 => "<0.1 %".to_owned(),
        s if part < whole && s >= 99.95 => ">99.9 %".to_owned(),
        s => format!("{s:.1} %"),
    }
}

/// `1 seed`, `2 seeds`, `3 crashes`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    let ending = match number {
        1 => "",
        _ if what.ends_with(['s', 'h']) => "es",
        _ => "s",
    };
    format!("{} {what}{ending}", count(number))
}

/// Rows with their columns aligned, the first to the left and the others to the right.
pub(crate) fn table(indent: usize, rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = " ".repeat(indent);
        for (column, cell) in row.iter().enumerate() {
            match column {
                0 => line += &format!("{cell:<width$}", width = widths[0]),
                _ => line += &format!("  {cell:>width$}", width = widths[column]),
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A word of a command line as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_honest() {
        assert_eq!(bytes(0), "0.00 B");
        assert_eq!(bytes(3 << 19), "1.50 MiB");
        assert_eq!([count(7), count(1_000), count(1_234_567)], ["7", "1 000", "1 234 567"]);
        assert_eq!([percent(0, 10_000), percent(1, 10_000), percent(5, 10)], ["0.0 %", "<0.1 %", "50.0 %"]);
        assert_eq!(
            [percent(9_999, 10_000), percent(10_000, 10_000), percent(0, 0)],
            [">99.9 %", "100.0 %", "-"]
        );
        assert_eq!(span(Duration::from_millis(1_500)), "1.50 s");
        assert_eq!(span(Duration::from_secs(90)), "90.0 s");
        assert_eq!(span(Duration::from_secs(600)), "10.0 min");
        assert_eq!(span(Duration::from_micros(250)), "250 us");
        assert_eq!(counted(1, "seed"), "1 seed");
    }

    #[test]
    fn tables_align() {
        let rows = [vec!["a".to_owned(), "100".to_owned()], vec!["longer".to_owned(), "5".to_owned()]];
        assert_eq!(table(2, &rows), "  a       100\n  longer    5\n");
    }

    #[test]
    fn a_shell_gives_back_what_was_quoted() {
        assert_eq!(quoted("net.loss=0.1"), "net.loss=0.1");
        assert_eq!(quoted("a={ min = 1 }"), "'a={ min = 1 }'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
