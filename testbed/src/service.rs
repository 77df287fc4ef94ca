//! The services of a run behind one type, as its storage engines are: a run is compiled once per protocol.

use std::fmt;
use std::hash::{Hash, Hasher};

use contract::{
    Batch, Bytes, Control, EngineError, Entry, GroupId, ReadStore, Rejection, Request, Service, Standing,
    WireSize, kv,
};
use protocols::KvService;
use protocols::percolator::{self, PercolatorService};

/// Any of the services.
pub(crate) enum AnyService {
    Kv(KvService),
    Percolator(PercolatorService),
}

/// What a client asks of any of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Kv(kv::Op),
    Percolator(percolator::Op),
}

/// What any of them answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Kv(kv::Ret),
    Percolator(percolator::Ret),
}

macro_rules! transparent {
    ($($any:ident)*) => {$(
        // No run has clients of several services: which of them it is says nothing.
        impl Hash for $any {
            fn hash<H: Hasher>(&self, state: &mut H) {
                match self {
                    Self::Kv(it) => it.hash(state),
                    Self::Percolator(it) => it.hash(state),
                }
            }
        }

        impl fmt::Display for $any {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Kv(it) => it.fmt(f),
                    Self::Percolator(it) => it.fmt(f),
                }
            }
        }

        impl WireSize for $any {
            fn wire_size(&self) -> usize {
                match self {
                    Self::Kv(it) => it.wire_size(),
                    Self::Percolator(it) => it.wire_size(),
                }
            }
        }
    )*};
}

transparent!(Ask Answer);

impl Service for AnyService {
    type Op = Ask;
    type Ret = Answer;

    fn families(&self) -> u8 {
        match self {
            Self::Kv(service) => service.families(),
            Self::Percolator(service) => service.families(),
        }
    }

    fn is_read(op: &Ask) -> bool {
        match op {
            Ask::Kv(op) => KvService::is_read(op),
            Ask::Percolator(op) => PercolatorService::is_read(op),
        }
    }

    fn encode(request: &Request<Ask>) -> Bytes {
        let (client, seq) = (request.client, request.seq);
        match &request.op {
            Ask::Kv(op) => KvService::encode(&Request { client, seq, op: op.clone() }),
            Ask::Percolator(op) => PercolatorService::encode(&Request { client, seq, op: op.clone() }),
        }
    }

    fn encode_answer(answer: &Answer) -> Bytes {
        match answer {
            Answer::Kv(answer) => KvService::encode_answer(answer),
            Answer::Percolator(answer) => PercolatorService::encode_answer(answer),
        }
    }

    /// Protocols that answer by themselves speak of keys and values.
    fn decode_answer(answer: &[u8]) -> Answer {
        Answer::Kv(KvService::decode_answer(answer))
    }

    async fn apply(
        &mut self,
        entry: &Entry,
        store: &impl ReadStore,
        batch: &mut Batch,
    ) -> Result<Result<Answer, Rejection>, EngineError> {
        Ok(match self {
            Self::Kv(service) => service.apply(entry, store, batch).await?.map(Answer::Kv),
            Self::Percolator(service) => service.apply(entry, store, batch).await?.map(Answer::Percolator),
        })
    }

    async fn query(&self, op: &Ask, store: &impl ReadStore) -> Result<Answer, EngineError> {
        Ok(match (self, op) {
            (Self::Kv(service), Ask::Kv(op)) => Answer::Kv(service.query(op, store).await?),
            (Self::Percolator(service), Ask::Percolator(op)) => {
                Answer::Percolator(service.query(op, store).await?)
            }
            _ => unreachable!("{op} was sent to another service"),
        })
    }

    async fn report(
        &self,
        standing: &Standing,
        store: &impl ReadStore,
    ) -> Result<Vec<(GroupId, Ask)>, EngineError> {
        Ok(match self {
            Self::Kv(_) => Vec::new(),
            Self::Percolator(service) => {
                let told = service.report(standing, store).await?;
                told.into_iter().map(|(group, op)| (group, Ask::Percolator(op))).collect()
            }
        })
    }

    fn advice(answer: &Answer) -> Option<(GroupId, Control)> {
        match answer {
            Answer::Kv(answer) => KvService::advice(answer),
            Answer::Percolator(answer) => PercolatorService::advice(answer),
        }
    }
}
