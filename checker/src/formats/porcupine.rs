//! What porcupine's viewer shows, written only: its input is a Go program, not a file.
//!
//! The document is the one that porcupine's `Visualize` puts into its page: per partition the operations
//! (`ClientId`, `Start` and `End` in nanoseconds, `Description`), orders of some of them
//! (`PartialLinearizations`, by place in `History`, each with the state behind it), and which of these
//! orders is the largest for each operation (`Largest`). An operation that never returned ends with the
//! history. To look at it, put it in place of the data in a page that porcupine made.

use contract::Time;
use serde_json::{Map, Value, json};

use super::{FormatError, Recording};
use crate::division::outlines;
use crate::judge::Budget;
use crate::linearizability::Search;
use crate::models::Recorded;
use crate::parts::Part;

/// The document for a history, by a model. Each part is searched for its longest order within the
/// budget.
///
/// # Errors
/// [`FormatError`] if the recording is none of the model's operations or answers.
pub fn export<S: Recorded>(recording: &Recording, budget: Budget) -> Result<Value, FormatError> {
    let history = recording.history::<S>()?.history;
    let start = recording.start::<S>()?;
    let end = history.events().last().map_or(Time::ZERO, |event| event.time);
    let outlines = outlines(&history, &start)?;
    let partitions: Vec<Value> =
        outlines.iter().map(|outline| partition(outline.part(), &start, end, budget)).collect();
    Ok(json!({ "Partitions": partitions, "Annotations": [] }))
}

fn partition<S: Recorded>(part: &Part<'_, S>, start: &S, end: Time, budget: Budget) -> Value {
    let operations: Vec<Value> = part
        .operations
        .iter()
        .map(|operation| {
            let told = operation.ret.map_or_else(|| "unknown".to_owned(), ToString::to_string);
            json!({
                "ClientId": operation.client.0,
                "Start": operation.invoked.0,
                "End": operation.returned.min(end).0,
                "Description": format!("{} -> {told}", operation.op),
            })
        })
        .collect();
    let mut search = Search::new(part, start);
    search.run(budget.steps);
    let mut state = start.clone();
    let mut order = Vec::new();
    let mut largest = Map::new();
    for place in search.longest() {
        let operation = &part.operations[place];
        state =
            state.step(operation.op, operation.ret).expect("the object explains the order that was found");
        order.push(json!({ "Index": place, "StateDescription": state.to_string() }));
        largest.insert(place.to_string(), json!(0));
    }
    json!({ "History": operations, "PartialLinearizations": [order], "Largest": largest })
}
