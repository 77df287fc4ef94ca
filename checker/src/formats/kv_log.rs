//! The log of a key-value store with `get`, `put` and `append` of strings, all keys "" at the start.
//!
//! Lines such as `{:process 0, :type :invoke, :f :append, :key "0", :value "x 0 0 y"}`; a get's value
//! stands on its `:ok` line. There are no times, and no escapes in strings.
//!
//! What is missing is "" here and the other way round: a put of "" becomes a delete, and an append of
//! "", which does nothing and tells nothing, is left out.

use serde_json::{Value, json};

use super::recording::time_of_line;
use super::{FormatError, Kind, Record, Recorder, Recording, wrong};

/// Reads a log.
///
/// # Errors
/// [`FormatError`] names the first line that is not in the format.
pub fn read(text: &str) -> Result<Recording, FormatError> {
    let mut recorder = Recorder::new(Some("kv".to_owned()), Value::Null);
    for (line, content) in (1..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty()) {
        let field = |name| field(content, name);
        let string = |name| field(name).and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
        let process = field(":process ").and_then(|process| process.parse().ok());
        let process = process.ok_or_else(|| wrong(line, ":process and a number"))?;
        let key = string(":key ").ok_or_else(|| wrong(line, ":key and a string"))?;
        let value = string(":value ");
        let some_value = || value.ok_or_else(|| wrong(line, ":value and a string"));
        let (kind, f) = (field(":type ").unwrap_or_default(), field(":f ").unwrap_or_default());
        // A return's name is its invocation's, which may have become another one.
        let (kind, f, value) = match (kind, f) {
            (_, ":append") if value == Some("") => continue,
            (":invoke", ":get") => (Kind::Invoke, "get", Value::Null),
            (":ok", ":get") => (
                Kind::Ok,
                "get",
                Some(some_value()?).filter(|v| !v.is_empty()).map_or(Value::Null, Value::from),
            ),
            (":invoke", ":put") if some_value()?.is_empty() => (Kind::Invoke, "delete", Value::Null),
            (":invoke", ":put" | ":append") => (Kind::Invoke, &f[1..], json!(some_value()?)),
            (":ok", ":put" | ":append") => (Kind::Ok, "", Value::Null),
            (":fail", ":get" | ":put" | ":append") => (Kind::Fail, "", Value::Null),
            (":info", ":get" | ":put" | ":append") => (Kind::Info, "", Value::Null),
            _ => {
                let events = ":invoke, :ok, :fail or :info of a :get, :put or :append";
                return Err(wrong(line, format!("{events}, found {kind} of a {f}")));
            }
        };
        let (time, f, key) = (time_of_line(line), f.to_owned(), json!(key));
        recorder.add(Record { line, time, process, kind, f, key, value }, None)?;
    }
    Ok(recorder.finish())
}

/// The text behind a field's name, up to the comma or brace that ends it. The value is the last field,
/// and may hold commas.
fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (_, rest) = line.split_once(name)?;
    match name {
        ":value " => rest.trim_end().strip_suffix('}'),
        _ => rest.split([',', '}']).next(),
    }
}
