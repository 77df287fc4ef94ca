//! Seedbed's own format: JSON, one event a line, after a line about all of them.
//!
//! ```text
//! {"history":1,"model":"kv","initial":null}
//! {"id":0,"client":3,"type":"invoke","f":"put","key":"k1","value":"a","time":1200345}
//! {"id":0,"client":3,"type":"ok","f":"put","key":"k1","value":null,"time":2100000}
//! ```
//!
//! `type` is `invoke`, `ok`, `fail` (it certainly took no effect) or `info` (nobody knows). `time` is in
//! nanoseconds. `id`, `key`, `time`, the `f` of a return and the first line may be left out; other fields
//! are passed over. What `f`, `key` and `value` may be is the model's matter; `initial` too.

use std::collections::BTreeMap;

use contract::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::recording::time_of_line;
use super::{FormatError, Kind, Record, Recorder, Recording, wrong};

/// The version of the format.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    history: u32,
    model: Option<String>,
    #[serde(default)]
    initial: Value,
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    client: u64,
    #[serde(rename = "type")]
    kind: Type,
    f: Option<String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    key: Value,
    #[serde(default)]
    value: Value,
    time: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Invoke,
    Ok,
    Fail,
    Info,
}

/// Reads a history.
///
/// # Errors
/// [`FormatError`] names the first line that is not in the format.
pub fn read(text: &str) -> Result<Recording, FormatError> {
    let mut lines = (1..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty()).peekable();
    let mut recorder = match lines.next_if(|(_, content)| is_head(content)) {
        Some((line, content)) => {
            let head: Head = parsed(line, content, "a head line with `history` and `model`")?;
            if head.history != VERSION {
                return Err(wrong(line, format!("version {VERSION} of the format, found {}", head.history)));
            }
            Recorder::new(head.model, head.initial)
        }
        None => Recorder::default(),
    };
    for (line, content) in lines {
        let event: Line = parsed(line, content, "an event with `client` and `type`")?;
        let kind = match event.kind {
            Type::Invoke => Kind::Invoke,
            Type::Ok => Kind::Ok,
            Type::Fail => Kind::Fail,
            Type::Info => Kind::Info,
        };
        if kind == Kind::Invoke && event.f.is_none() {
            return Err(wrong(line, "`f`, the operation's name"));
        }
        // Without a time an event happens a line later, but not before the one in front of it.
        let time = event.time.map_or_else(|| time_of_line(line).max(recorder.now()), Time);
        let value = if matches!(kind, Kind::Invoke | Kind::Ok) { event.value } else { Value::Null };
        let (process, f, key) = (event.client, event.f.unwrap_or_default(), event.key);
        recorder.add(Record { line, time, process, kind, f, key, value }, event.id)?;
    }
    Ok(recorder.finish())
}

fn is_head(line: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|value| value.get("history").is_some())
}

fn parsed<'l, T: Deserialize<'l>>(line: usize, content: &'l str, what: &str) -> Result<T, FormatError> {
    serde_json::from_str(content).map_err(|error| {
        let why = error.to_string();
        // The place is the line's and not the document's.
        let why = why.split(" at line ").next().unwrap_or_default().to_owned();
        wrong(line, format!("{what}: {why} in column {}", error.column()))
    })
}

/// Writes a history.
pub fn write(recording: &Recording) -> String {
    let head = Head { history: VERSION, model: recording.model.clone(), initial: recording.initial.clone() };
    let mut text = serde_json::to_string(&head).expect("a head is plain data");
    text.push('\n');
    // Per process the number of its latest operation.
    let mut latest: BTreeMap<u64, u64> = BTreeMap::new();
    let mut operations = 0;
    for record in recording.records() {
        let kind = match record.kind {
            Kind::Invoke => Type::Invoke,
            Kind::Ok => Type::Ok,
            Kind::Fail => Type::Fail,
            Kind::Info => Type::Info,
        };
        if record.kind == Kind::Invoke {
            latest.insert(record.process, operations);
            operations += 1;
        }
        let line = Line {
            id: Some(latest[&record.process]),
            client: record.process,
            kind,
            f: Some(record.f.clone()),
            key: record.key.clone(),
            value: record.value.clone(),
            time: Some(record.time.0),
        };
        text += &serde_json::to_string(&line).expect("an event is plain data");
        text.push('\n');
    }
    text
}
