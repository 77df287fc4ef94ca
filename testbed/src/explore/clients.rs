//! What clients and operators did and saw.
//!
//! Each asks once. Its request is at the server at the moment of its invocation, and the answer back
//! at the moment at which it is given: any delay would only widen what is allowed. One that was refused
//! took no effect, and is forgotten; one that was lost, or whose server crashed, stays open.
//!
//! Which of two invocations, or of two returns, came first is no difference to linearizability unless a
//! return and an invocation stand between: each such group is kept in the order of its clients.

use std::collections::BTreeSet;

use checker::{Budget, Verdict};
use contract::kv::Ret;
use contract::{ClientId, History, OpId, Outcome, RequestId, Time};

use super::bounds::Request;

/// One end of a client's request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum End {
    Invoke(RequestId),
    Return(RequestId, Ret),
}

/// What was asked, and what came back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Clients {
    ends: Vec<End>,
    /// What was sent more than once: then a refusal says nothing of the other times.
    repeated: BTreeSet<RequestId>,
}

impl Clients {
    pub(super) fn has_invoked(&self, request: RequestId) -> bool {
        self.ends.contains(&End::Invoke(request))
    }

    pub(super) fn has_returned(&self, request: RequestId) -> bool {
        self.ends.iter().any(|end| matches!(end, End::Return(of, _) if *of == request))
    }

    pub(super) fn invoke(&mut self, request: RequestId) {
        if self.has_invoked(request) {
            self.repeated.insert(request);
        } else {
            self.push(End::Invoke(request));
        }
    }

    /// A server took no notice of the request.
    pub(super) fn refused(&mut self, request: RequestId) {
        if self.repeated.contains(&request) {
            return;
        }
        self.ends.retain(|end| *end != End::Invoke(request));
        let ends = std::mem::take(&mut self.ends);
        ends.into_iter().for_each(|end| self.push(end));
    }

    /// The first answer counts: who asked twice does not look at the second.
    pub(super) fn returned(&mut self, request: RequestId, ret: Ret) {
        if !self.has_returned(request) {
            self.push(End::Return(request, ret));
        }
    }

    fn push(&mut self, end: End) {
        let alike = |other: &End| {
            matches!((other, &end), (End::Invoke(_), End::Invoke(_)) | (End::Return(..), End::Return(..)))
        };
        let group = self.ends.iter().rposition(|other| !alike(other)).map_or(0, |place| place + 1);
        let place = group + self.ends[group..].partition_point(|other| *other < end);
        self.ends.insert(place, end);
    }

    /// What is wrong with the clients' history, if it is not linearizable.
    pub(super) fn judge(&self, requests: &[Request]) -> Option<String> {
        let mut history = History::default();
        let mut ids = vec![OpId(0); requests.len()];
        for (second, end) in (1..).zip(&self.ends) {
            let (End::Invoke(request) | End::Return(request, _)) = end;
            let slot = usize::try_from(request.0).expect("requests are few") - 1;
            let Request::Client(op) = &requests[slot] else { continue };
            let time = Time(second * 1_000_000_000);
            let client = ClientId(u16::try_from(request.0).expect("clients are few"));
            match end {
                End::Invoke(_) => ids[slot] = history.invoke(time, client, op.clone()),
                End::Return(_, ret) => history.complete(time, client, ids[slot], Outcome::Ok(ret.clone())),
            }
        }
        match checker::judge_kv(&history, Budget::default()).expect("each client asks once") {
            Verdict::Ok => None,
            Verdict::Violation(violation) => Some(violation.to_string()),
            Verdict::Unknown(what) => panic!("the history of a few clients is judged: {what}"),
        }
    }
}
