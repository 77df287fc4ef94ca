//! The log of a Jepsen test of a register of whole numbers that is empty at the start.
//!
//! Lines such as `INFO  jepsen.util - 3<TAB>:invoke<TAB>:cas<TAB>[1 2]`; other lines are passed over. A
//! read's value stands on its `:ok` line. A failed cas is an answer: it did not swap. Other operations
//! that failed took no effect, and those that end with `:info` may still. There are no times.

use serde_json::{Value, json};

use super::recording::time_of_line;
use super::{FormatError, Kind, Record, Recorder, Recording, wrong};

const EVENTS: &str = ":invoke, :ok, :fail or :info of a :read, :write or :cas";

/// Reads a log.
///
/// # Errors
/// [`FormatError`] names the first line that is not in the format.
pub fn read(text: &str) -> Result<Recording, FormatError> {
    let mut recorder = Recorder::new(Some("cas-register".to_owned()), Value::Null);
    for (line, content) in (1..).zip(text.lines()) {
        let Some((_, event)) = content.split_once("jepsen.util - ") else { continue };
        let fields: Vec<&str> = event.split('\t').collect();
        let [process, kind, f, value] = fields[..] else { continue };
        let Ok(process) = process.parse() else { continue };
        let (kind, value) = match (kind, f) {
            (":invoke", ":read") => (Kind::Invoke, Value::Null),
            (":invoke", ":write") => (Kind::Invoke, number(line, value)?),
            (":invoke", ":cas") => (Kind::Invoke, pair(line, value)?),
            (":ok", ":read") if value == "nil" => (Kind::Ok, Value::Null),
            (":ok", ":read") => (Kind::Ok, number(line, value)?),
            (":ok", ":write") => (Kind::Ok, Value::Null),
            (":ok" | ":fail", ":cas") => (Kind::Ok, json!(kind == ":ok")),
            (":fail", ":read" | ":write") => (Kind::Fail, Value::Null),
            (":info", ":read" | ":write" | ":cas") => (Kind::Info, Value::Null),
            _ => return Err(wrong(line, format!("{EVENTS}, found {kind} of a {f}"))),
        };
        let (time, f) = (time_of_line(line), f[1..].to_owned());
        recorder.add(Record { line, time, process, kind, f, key: Value::Null, value }, None)?;
    }
    Ok(recorder.finish())
}

fn number(line: usize, text: &str) -> Result<Value, FormatError> {
    let number: Option<i64> = text.parse().ok();
    number.map(Value::from).ok_or_else(|| wrong(line, format!("a whole number, found {text}")))
}

fn pair(line: usize, text: &str) -> Result<Value, FormatError> {
    let pair = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')?.split_once(' '));
    let pair = pair.and_then(|(old, new)| Some((old.parse::<i64>().ok()?, new.parse::<i64>().ok()?)));
    let (old, new) =
        pair.ok_or_else(|| wrong(line, format!("[old new], two whole numbers, found {text}")))?;
    Ok(json!([old, new]))
}
