//! The storage engines of a run behind one type: a run is compiled once per protocol, not once per protocol
//! and engine.

use contract::{Batch, Durability, Engine, EngineError, EngineStats, Family, Range, ReadStore, TornTail};
use sim::SimFs;
use storage::{
    BTree, BTreeOptions, BTreeSnapshot, LogStore, LogStoreOptions, LogStoreSnapshot, Lsm, LsmOptions,
    LsmSnapshot,
};

/// Any of the engines, on a simulated disk.
#[derive(Clone)]
pub(crate) enum AnyEngine {
    Lsm(Lsm<SimFs>),
    BTree(BTree<SimFs>),
    Log(LogStore<SimFs>),
}

/// Which engine, and how it is tuned.
#[derive(Clone)]
pub(crate) enum AnyOptions {
    Lsm(LsmOptions),
    BTree(BTreeOptions),
    Log(LogStoreOptions),
}

/// The content of one at one moment.
pub(crate) enum AnySnapshot {
    Lsm(LsmSnapshot<SimFs>),
    BTree(BTreeSnapshot<SimFs>),
    Log(LogStoreSnapshot<SimFs>),
}

macro_rules! each {
    ($any:expr, $it:ident => $does:expr) => {
        match $any {
            Self::Lsm($it) => $does,
            Self::BTree($it) => $does,
            Self::Log($it) => $does,
        }
    };
}

impl ReadStore for AnyEngine {
    async fn get_in(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        each!(self, store => store.get_in(family, key).await)
    }

    async fn visit(
        &self,
        range: Range<'_>,
        limit: usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError> {
        each!(self, store => store.visit(range, limit, pair).await)
    }
}

impl ReadStore for AnySnapshot {
    async fn get_in(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        each!(self, snapshot => snapshot.get_in(family, key).await)
    }

    async fn visit(
        &self,
        range: Range<'_>,
        limit: usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError> {
        each!(self, snapshot => snapshot.visit(range, limit, pair).await)
    }
}

impl Engine for AnyEngine {
    type Fs = SimFs;
    type Options = AnyOptions;
    type Snapshot = AnySnapshot;

    async fn open(fs: &SimFs, dir: &str, options: &AnyOptions) -> Result<Self, EngineError> {
        Ok(match options {
            AnyOptions::Lsm(options) => Self::Lsm(Lsm::open(fs, dir, options).await?),
            AnyOptions::BTree(options) => Self::BTree(BTree::open(fs, dir, options).await?),
            AnyOptions::Log(options) => Self::Log(LogStore::open(fs, dir, options).await?),
        })
    }

    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), EngineError> {
        each!(self, store => store.write(batch, durability).await)
    }

    async fn sync(&self) -> Result<(), EngineError> {
        each!(self, store => store.sync().await)
    }

    fn snapshot(&self) -> AnySnapshot {
        match self {
            Self::Lsm(store) => AnySnapshot::Lsm(store.snapshot()),
            Self::BTree(store) => AnySnapshot::BTree(store.snapshot()),
            Self::Log(store) => AnySnapshot::Log(store.snapshot()),
        }
    }

    async fn checkpoint(&self, dir: &str) -> Result<(), EngineError> {
        each!(self, store => store.checkpoint(dir).await)
    }

    async fn maintain(&self) -> Result<bool, EngineError> {
        each!(self, store => store.maintain().await)
    }

    fn needs_maintenance(&self) -> bool {
        each!(self, store => store.needs_maintenance())
    }

    async fn verify(&self) -> Result<(), EngineError> {
        each!(self, store => store.verify().await)
    }

    fn torn_tails(&self) -> &[TornTail] {
        each!(self, store => store.torn_tails())
    }

    fn stats(&self) -> EngineStats {
        each!(self, store => store.stats())
    }
}
