//! A queue without an order: what comes out is any of the elements.

use std::fmt;

use serde_json::Value;

use super::Expected;
use super::Recorded;
use super::answer::{Answer, Datum, Listed, initial_items};
use super::any_of::Choices;
use super::queue::{Op, Queue};

/// The elements, sorted; some may be there more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnorderedQueue(Vec<Datum>);

impl UnorderedQueue {
    fn with(&self, value: &Datum) -> Self {
        let mut items = self.0.clone();
        items.insert(items.partition_point(|item| item < value), value.clone());
        Self(items)
    }

    fn without(&self, place: usize) -> Self {
        let mut items = self.0.clone();
        items.remove(place);
        Self(items)
    }
}

impl Choices for UnorderedQueue {
    type Op = Op;
    type Ret = Answer;

    fn after(&self, op: &Op, ret: Option<&Answer>) -> Vec<Self> {
        match (op, ret) {
            (Op::Enqueue(value), None | Some(Answer::Done)) => vec![self.with(value)],
            (Op::Dequeue, Some(Answer::Value(Some(value)))) => {
                self.0.binary_search(value).map(|place| self.without(place)).into_iter().collect()
            }
            (Op::Dequeue, None) if !self.0.is_empty() => {
                (0..self.0.len()).map(|place| self.without(place)).collect()
            }
            (Op::Dequeue, None | Some(Answer::Value(None))) if self.0.is_empty() => vec![self.clone()],
            _ => Vec::new(),
        }
    }

    fn bytes(&self) -> usize {
        64 + self.0.len() * size_of::<Datum>()
    }

    fn initial(value: &Value) -> Result<Self, Expected> {
        let mut items = initial_items(value)?;
        items.sort_unstable();
        Ok(Self(items))
    }

    fn op(f: &str, key: &Value, value: &Value) -> Result<Op, Expected> {
        <Queue as Recorded>::op(f, key, value)
    }

    fn ret(op: &Op, value: &Value) -> Result<Answer, Expected> {
        <Queue as Recorded>::ret(op, value)
    }
}

impl fmt::Display for UnorderedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Listed(self.0.iter()).fmt(f)
    }
}
