//! Many objects of one kind, told apart by a key: each is judged alone.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::answer::Datum;
use super::{Expected, Recorded, register_reason};
use crate::parts::Part;
use crate::spec::{Content, Keys, Reason, RegisterOp, Spec};

/// The objects that were used, in key order; all others are as at the start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Keyed<S> {
    initial: Arc<S>,
    objects: Vec<(Datum, S)>,
}

/// An operation on the object of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Op<O> {
    /// Which object.
    pub key: Datum,
    /// What is asked of it.
    pub op: O,
}

impl<S> Keyed<S> {
    /// Objects that all start like this one.
    pub fn all(initial: S) -> Self {
        Self { initial: Arc::new(initial), objects: Vec::new() }
    }

    fn place(&self, key: &Datum) -> Result<usize, usize> {
        self.objects.binary_search_by(|(known, _)| known.cmp(key))
    }

    fn object(&self, key: &Datum) -> &S {
        self.place(key).map_or(&*self.initial, |at| &self.objects[at].1)
    }
}

impl<S: Recorded> Spec for Keyed<S> {
    type Op = Op<S::Op>;
    type Ret = S::Ret;
    type Key = Datum;

    fn step(&self, op: &Op<S::Op>, ret: Option<&S::Ret>) -> Option<Self> {
        let place = self.place(&op.key);
        let object = self.object(&op.key).step(&op.op, ret)?;
        let mut after = self.clone();
        // An object that is as at the start is the same as one that nobody used.
        match (place, object == *self.initial) {
            (Ok(at), true) => drop(after.objects.remove(at)),
            (Err(_), true) => {}
            (Ok(at), false) => after.objects[at].1 = object,
            (Err(at), false) => after.objects.insert(at, (op.key.clone(), object)),
        }
        Some(after)
    }

    fn keys(op: &Op<S::Op>) -> Keys<&Datum> {
        Keys::One(&op.key)
    }

    fn is_read(op: &Op<S::Op>, ret: Option<&S::Ret>) -> bool {
        S::is_read(&op.op, ret)
    }

    fn register_op<'a>(op: &'a Op<S::Op>, ret: Option<&'a S::Ret>) -> Option<RegisterOp<'a>> {
        S::register_op(&op.op, ret)
    }

    fn register(&self, key: &Datum) -> Option<Content<'_>> {
        self.object(key).content()
    }

    fn reason(part: &Part<'_, Self>, initial: &Self, failing: usize) -> Option<Reason> {
        let [key] = &part.keys[..] else { return None };
        register_reason::reason(part, initial.register(key)?, failing)
    }

    fn bytes_beyond(&self, _before: &Self) -> usize {
        self.objects.iter().map(|(_, object)| 32 + object.bytes_beyond(&self.initial)).sum::<usize>() + 64
    }
}

impl<S: Recorded> Recorded for Keyed<S> {
    fn initial(value: &Value) -> Result<Self, Expected> {
        S::initial(value).map(Self::all)
    }

    fn op(f: &str, key: &Value, value: &Value) -> Result<Op<S::Op>, Expected> {
        let datum = Datum::read(key).map_err(|_| Expected::instead("a key, as the others have", key))?;
        Ok(Op { key: datum, op: S::op(f, &Value::Null, value)? })
    }

    fn ret(op: &Op<S::Op>, value: &Value) -> Result<S::Ret, Expected> {
        S::ret(&op.op, value)
    }
}

impl<S: fmt::Display> fmt::Display for Keyed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (key, object)) in self.objects.iter().enumerate() {
            write!(f, "{}{key}: {object}", if place > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl<O: fmt::Display> fmt::Display for Op<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.op)
    }
}
