//! Jepsen's `history.edn`: a map for each event, one after the other or in a vector.
//!
//! ```text
//! {:index 0, :type :invoke, :process 3, :f :write, :value 7, :time 1200345}
//! #jepsen.history.Op{:index 1, :type :ok, :process 3, :f :write, :value 7, :time 2100000}
//! ```
//!
//! Events of processes that are no numbers, such as `:nemesis`, are passed over. Keywords, symbols and
//! strings are read as text; vectors, lists and sets as lists. As Jepsen's clients do it:
//!
//! - An object is told by a `:key`, or by the `[key value]` of `jepsen.independent`: that is how values
//!   are read if the value of every invocation is a pair, and that of every cas a pair with a pair.
//! - A cas that is `:ok` swapped; one that `:fail`s without an `:error` did not, which is an answer. Any
//!   other `:fail` took no effect.
//! - The order of the events counts. A `:time`, in nanoseconds, that runs backwards is passed over.

use clojure_reader::edn::{self, Edn};
use contract::Time;
use serde_json::{Map, Value, json};

use super::recording::time_of_line;
use super::transactions::TXN;
use super::{FormatError, Kind, Record, Recorder, Recording, wrong};
use crate::explain::short;

/// An event as it stands in the text.
struct Event {
    line: usize,
    time: Option<u64>,
    process: u64,
    kind: Kind,
    f: String,
    key: Value,
    value: Value,
    has_error: bool,
}

/// Reads a history.
///
/// # Errors
/// [`FormatError`] names the first line that is not in the format.
pub fn read(text: &str) -> Result<Recording, FormatError> {
    let mut events = events(text)?;
    if is_independent(&events) {
        for event in &mut events {
            // What has no pair is a return whose value nobody knows.
            if let Some((key, value)) = pair(&event.value) {
                (event.key, event.value) = (key.clone(), value.clone());
            }
        }
    }
    let mut recorder = Recorder::default();
    for event in events {
        let Event { line, process, f, .. } = event;
        let (kind, value) = match (event.kind, f.as_str()) {
            (Kind::Ok, "cas") => (Kind::Ok, json!(true)),
            (Kind::Fail, "cas") if !event.has_error => (Kind::Ok, json!(false)),
            (kind @ (Kind::Fail | Kind::Info), _) => (kind, Value::Null),
            (kind, _) => (kind, event.value),
        };
        let time = event.time.map_or_else(|| time_of_line(line), Time).max(recorder.now());
        recorder.add(Record { line, time, process, kind, f, key: event.key, value }, None)?;
    }
    Ok(recorder.finish())
}

/// The events of all processes that are numbers.
fn events(text: &str) -> Result<Vec<Event>, FormatError> {
    let mut events = Vec::new();
    let mut line = 1;
    let mut rest = text;
    let mut is_in_vector = false;
    loop {
        let next = skip_blank(rest);
        line += lines_between(rest, next);
        rest = next;
        match rest.chars().next() {
            None if is_in_vector => return Err(wrong(line, "a ] at the end of the vector")),
            None => return Ok(events),
            Some('[' | '(') if !is_in_vector && events.is_empty() => {
                is_in_vector = true;
                rest = &rest[1..];
                continue;
            }
            Some(']' | ')') if is_in_vector => return Ok(events),
            Some(_) => {}
        }
        let (value, after) = edn::read(rest).map_err(|error| {
            let place = line + error.line.unwrap_or(1) - 1;
            wrong(place, format!("a map for an event, found no EDN: {:?}", error.code))
        })?;
        events.extend(event(line, &value)?);
        line += lines_between(rest, after);
        rest = after;
    }
}

/// Without spaces, commas and comments at its beginning.
fn skip_blank(text: &str) -> &str {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
    match text.strip_prefix(';') {
        Some(comment) => skip_blank(comment.split_once('\n').map_or("", |(_, rest)| rest)),
        None => text,
    }
}

/// How many lines end in `text` before its end `rest`.
fn lines_between(text: &str, rest: &str) -> usize {
    text[..text.len() - rest.len()].matches('\n').count()
}

fn event(line: usize, edn: &Edn<'_>) -> Result<Option<Event>, FormatError> {
    let fields = match edn {
        Edn::Tagged(_, inner) => inner,
        other => other,
    };
    let Edn::Map(fields) = fields else {
        return Err(wrong(line, format!("a map for an event, found {}", short(edn))));
    };
    let field = |name: &'static str| fields.get(&Edn::key(name)).filter(|value| !matches!(value, Edn::Nil));
    let missing = |name: &str| wrong(line, format!("{name} in the event's map"));
    let process = match field("process") {
        Some(Edn::Int(process)) => match u64::try_from(*process) {
            Ok(process) => process,
            // Jepsen's way to write the nemesis in histories of numbers.
            Err(_) => return Ok(None),
        },
        Some(_) => return Ok(None),
        None => return Err(missing(":process")),
    };
    let text = |name: &'static str| match field(name) {
        Some(Edn::Key(text) | Edn::Symbol(text) | Edn::Str(text)) => Some(text.to_string()),
        _ => None,
    };
    let kind = match text("type").ok_or_else(|| missing(":type"))?.as_str() {
        "invoke" => Kind::Invoke,
        "ok" => Kind::Ok,
        "fail" => Kind::Fail,
        "info" => Kind::Info,
        other => return Err(wrong(line, format!(":invoke, :ok, :fail or :info, found :{other}"))),
    };
    let time = match field("time") {
        Some(Edn::Int(time)) => u64::try_from(*time).ok(),
        _ => None,
    };
    Ok(Some(Event {
        line,
        time,
        process,
        kind,
        f: text("f").ok_or_else(|| missing(":f"))?,
        key: field("key").map_or(Value::Null, plain),
        value: field("value").map_or(Value::Null, plain),
        has_error: field("error").is_some(),
    }))
}

/// EDN as JSON.
fn plain(edn: &Edn<'_>) -> Value {
    match edn {
        Edn::Nil => Value::Null,
        Edn::Bool(flag) => json!(flag),
        Edn::Int(number) => json!(number),
        Edn::Double(number) => json!(number.into_inner()),
        Edn::Key(text) | Edn::Symbol(text) | Edn::Str(text) => json!(text),
        Edn::Char(c) => json!(c.to_string()),
        Edn::Vector(items) | Edn::List(items) => items.iter().map(plain).collect(),
        Edn::Set(items) => items.iter().map(plain).collect(),
        Edn::Map(pairs) => {
            let name = |key: &Edn<'_>| plain(key).as_str().map_or_else(|| key.to_string(), str::to_owned);
            Value::Object(pairs.iter().map(|(key, value)| (name(key), plain(value))).collect())
        }
        Edn::Tagged(_, inner) => plain(inner),
        other => json!(other.to_string()),
    }
}

fn pair(value: &Value) -> Option<(&Value, &Value)> {
    match value.as_array().map(Vec::as_slice) {
        Some([first, second]) => Some((first, second)),
        _ => None,
    }
}

/// Whether values are `[key value]`.
fn is_independent(events: &[Event]) -> bool {
    let mut invoked = events.iter().filter(|event| event.kind == Kind::Invoke).peekable();
    invoked.peek().is_some()
        && events.iter().all(|event| event.key.is_null())
        && invoked.all(|event| match pair(&event.value) {
            Some((key, value)) => !key.is_array() && (event.f != "cas" || pair(value).is_some()),
            None => false,
        })
}

/// Writes a history, as Jepsen and its checkers read it: a key and a value as a pair, and the gets and
/// puts of a store as reads and writes.
pub fn write(recording: &Recording) -> String {
    let has_keys = recording.has_keys();
    // Per process what it asked last: Jepsen's clients repeat it when they have nothing to tell.
    let mut asked = std::collections::BTreeMap::new();
    let mut text = String::new();
    for (index, record) in recording.records().iter().enumerate() {
        if record.kind == Kind::Invoke {
            asked.insert(record.process, &record.value);
        }
        let asked = asked[&record.process];
        let f = match record.f.as_str() {
            "get" => "read",
            "put" => "write",
            other => other,
        };
        let (kind, value, error) = match (record.kind, &record.value) {
            (Kind::Invoke, value) => ("invoke", value, ""),
            (Kind::Ok, Value::Bool(false)) if f == "cas" => ("fail", asked, ""),
            (Kind::Ok, Value::Bool(true)) if f == "cas" => ("ok", asked, ""),
            (Kind::Ok, Value::Null) => ("ok", if f == "read" { &Value::Null } else { asked }, ""),
            (Kind::Ok, value) => ("ok", value, ""),
            (Kind::Fail, _) => ("fail", asked, ", :error :failed"),
            (Kind::Info, _) => ("info", asked, ", :error :unknown"),
        };
        let value = match value {
            value if has_keys => format!("[{} {}]", shown(&record.key), shown(value)),
            value if f == TXN => shown_transaction(value),
            value => shown(value),
        };
        let (process, time) = (record.process, record.time.0);
        text += &format!(
            "{{:index {index}, :type :{kind}, :process {process}, :f :{f}, :value {value}, :time {time}{error}}}\n"
        );
    }
    text
}

/// A transaction, whose actions have keywords for names.
fn shown_transaction(value: &Value) -> String {
    let action = |action: &Value| match action.as_array().map(Vec::as_slice) {
        Some([Value::String(f), key, value]) => format!("[:{f} {} {}]", shown(key), shown(value)),
        _ => shown(action),
    };
    let actions = value.as_array().into_iter().flatten().map(action);
    format!("[{}]", actions.collect::<Vec<_>>().join(" "))
}

/// JSON as EDN.
fn shown(value: &Value) -> String {
    let list = |items: &[Value]| items.iter().map(shown).collect::<Vec<_>>().join(" ");
    let object = |pairs: &Map<String, Value>| {
        let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{} {}", quoted(k), shown(v))).collect();
        pairs.join(", ")
    };
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", list(items)),
        Value::Object(pairs) => format!("{{{}}}", object(pairs)),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
