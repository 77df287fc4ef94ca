//! Snapshots: the service's state as one run of bytes, taken from one engine and built into another.
//!
//! The encoding is the engine's pairs in key order, family by family (postcard: a sequence of byte pairs for
//! each), so that it says nothing of which engine it came from. A received snapshot becomes a *new* store in a
//! directory of its own, `state-G`; the file `STATE` names the generation in use and is switched by a
//! rename, so that a crash leaves the old state or the new one. In a server of several groups the names of
//! all but the first begin with the group's: `g2-state-G`.

use contract::{
    Batch, Bytes, Durability, Engine, EngineError, Env, Family, File, Fs, FsError, GroupId, Mark, NodeId,
    OpenMode, Range, ReadStore, Rejection, Replica, Service, SnapshotChunk, Token,
};

use crate::apply::Work;
use crate::host::{Host, HostError, PacketOf};

/// The host's keys begin with a zero byte; this one holds how far the log has been applied.
const APPLIED: &[u8] = b"\0applied";
/// How many pairs an installation writes in one batch.
const PAIRS_PER_BATCH: usize = 512;

/// What the names of a group's files begin with.
fn prefix(group: GroupId) -> String {
    if group == GroupId(0) { String::new() } else { format!("{group}-") }
}

pub(crate) fn directory(group: GroupId, generation: u64) -> String {
    format!("{}state-{generation}", prefix(group))
}

fn pointer(group: GroupId) -> String {
    format!("{}STATE", prefix(group))
}

/// Which generation of the state is in use. What other generations left behind is removed.
pub(crate) async fn current_generation<F: Fs>(fs: &F, group: GroupId) -> Result<u64, HostError> {
    let generation = match fs.open(&pointer(group), OpenMode::Existing).await {
        Err(FsError::NotFound { .. }) => 0,
        Err(error) => return Err(error.into()),
        Ok(file) => {
            let bytes = storage::read_at(&file, 0, POINTER_BYTES).await?;
            decode_pointer(&bytes).ok_or(HostError::Undecodable { what: "the file STATE" })?
        }
    };
    let states = format!("{}state-", prefix(group));
    for name in fs.list("").await? {
        if name.starts_with(&states) && name != directory(group, generation) {
            fs.remove_dir(&name).await?;
        }
    }
    Ok(generation)
}

/// The generation in eight bytes, low first, and their CRC-32C in four.
const POINTER_BYTES: usize = 12;

fn encode_pointer(generation: u64) -> Vec<u8> {
    let bytes = generation.to_le_bytes();
    [&bytes[..], &crc32c::crc32c(&bytes).to_le_bytes()].concat()
}

fn decode_pointer(bytes: &[u8]) -> Option<u64> {
    let (generation, sum) = bytes.split_first_chunk::<8>()?;
    (sum == crc32c::crc32c(generation).to_le_bytes()).then(|| u64::from_le_bytes(*generation))
}

async fn switch_generation<F: Fs>(fs: &F, group: GroupId, generation: u64) -> Result<(), FsError> {
    let pointer = pointer(group);
    let new = format!("{pointer}.new");
    let file = fs.open(&new, OpenMode::Truncate).await?;
    file.write_at(0, encode_pointer(generation)).await.0?;
    file.sync_data().await?;
    fs.rename(&new, &pointer).await?;
    fs.sync_dir("").await
}

pub(crate) async fn applied_mark(store: &impl ReadStore) -> Result<Mark, HostError> {
    match store.get(APPLIED).await? {
        None => Ok(Mark::ZERO),
        Some(bytes) => {
            postcard::from_bytes(&bytes).map_err(|_| HostError::Undecodable { what: "the applied mark" })
        }
    }
}

pub(crate) fn put_applied_mark(batch: &mut Batch, mark: Mark) {
    batch.put(APPLIED, postcard::to_stdvec(&mark).expect("a mark encodes into memory"));
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The snapshot that is being sent; held until a newer one is asked for.
#[derive(Default)]
pub(crate) struct Outgoing {
    taken: Option<(Mark, Bytes)>,
}

/// The snapshot that is being received.
#[derive(Default)]
pub(crate) struct Staged {
    snapshot: Mark,
    bytes: Vec<u8>,
}

impl Staged {
    pub(crate) fn add(&mut self, chunk: SnapshotChunk) {
        if chunk.offset == 0 {
            self.snapshot = chunk.snapshot;
            self.bytes.clear();
        }
        assert_eq!(chunk.snapshot, self.snapshot, "parts of two snapshots were mixed");
        assert_eq!(chunk.offset, self.bytes.len() as u64, "a part of a snapshot is missing");
        self.bytes.extend_from_slice(&chunk.data);
    }

    pub(crate) fn take(&mut self, snapshot: Mark) -> Bytes {
        assert_eq!(snapshot, self.snapshot, "the staged snapshot is another one");
        std::mem::take(&mut self.bytes).into()
    }
}

impl<R, S, E, V> Host<R, S, E, V>
where
    R: Replica,
    S: Service,
    E: Engine,
    V: Env<PacketOf<R, S>>,
{
    /// Reads a part of the snapshot `wanted`, or the first part of a new one if that is not held.
    pub(crate) async fn read_chunk(
        &self,
        outgoing: &mut Outgoing,
        families: u8,
        to: NodeId,
        wanted: Option<Mark>,
        offset: u64,
    ) -> Result<(), HostError> {
        let Some((store, applied)) = self.store() else { return Ok(()) };
        let held = outgoing.taken.as_ref().map(|(mark, _)| *mark);
        let offset = if wanted.is_some() && wanted == held { offset } else { 0 };
        // A fresh snapshot for a fresh transfer; one at the same mark is the same snapshot.
        if wanted.is_none_or(|wanted| Some(wanted) != held) && held != Some(applied) {
            let (snapshot, mut bytes) = (store.snapshot(), Vec::new());
            for family in (0..families).map(Family) {
                let pairs: Pairs = snapshot.scan(Range::all().of(family), usize::MAX).await?;
                bytes = postcard::to_extend(&pairs, bytes).expect("pairs encode into memory");
            }
            outgoing.taken = Some((applied, bytes.into()));
        }
        let (snapshot, state) = outgoing.taken.as_ref().expect("one was just taken");
        let start = usize::try_from(offset).expect("a snapshot fits into memory").min(state.len());
        let end = (start + self.inner.setup.options.chunk_bytes).min(state.len());
        let chunk = SnapshotChunk {
            snapshot: *snapshot,
            offset: start as u64,
            data: state[start..end].into(),
            last: end == state.len(),
        };
        self.step(|replica, fx| replica.on_chunk(to, chunk, fx));
        Ok(())
    }

    /// Builds a new store from a snapshot and switches to it.
    pub(crate) async fn install(&self, token: Token, snapshot: Mark, state: &[u8]) -> Result<(), HostError> {
        let setup = &self.inner.setup;
        let Some(old) = self.inner.core.borrow().as_ref().map(|core| core.generation) else { return Ok(()) };
        let (group, generation) = (setup.cluster.group, old + 1);
        let families =
            decode_families(state).ok_or(HostError::Undecodable { what: "a received snapshot" })?;
        fs_fresh(&setup.fs, &directory(group, generation)).await?;
        let store = E::open(&setup.fs, &directory(group, generation), &setup.engine).await?;
        fill(&store, families).await?;
        assert_eq!(applied_mark(&store).await?, snapshot, "a snapshot carries the mark it was taken at");
        switch_generation(&setup.fs, group, generation).await?;
        {
            let mut core = self.inner.core.borrow_mut();
            let Some(core) = core.as_mut() else { return Ok(()) };
            assert!(snapshot.index > core.applied.index, "a snapshot only ever moves the state forward");
            core.store = store;
            core.generation = generation;
            core.applied = snapshot;
            core.durable = snapshot;
            // The entries that these requests became were applied elsewhere: their answers are not here.
            let later = core.proposals.split_off(&snapshot.index.next());
            for (_, (_, request)) in std::mem::replace(&mut core.proposals, later) {
                self.refuse(core, request, Rejection::Lost);
            }
            let later = core.reads.split_off(&(snapshot.index.next(), contract::RequestId(0)));
            for (_, request) in std::mem::replace(&mut core.reads, later) {
                self.inner.work.push(Work::Query(request));
            }
        }
        self.inner.snapshots_installed.set(self.inner.snapshots_installed.get() + 1);
        setup.observer.installed(setup.cluster.me, snapshot);
        setup.fs.remove_dir(&directory(group, old)).await?;
        self.durable(token);
        self.after_applying();
        Ok(())
    }
}

async fn fs_fresh<F: Fs>(fs: &F, dir: &str) -> Result<(), FsError> {
    fs.remove_dir(dir).await?;
    fs.create_dir(dir).await
}

/// The pairs of each family, from the first on.
fn decode_families(mut state: &[u8]) -> Option<Vec<Pairs>> {
    let mut families = Vec::new();
    while !state.is_empty() {
        let (pairs, rest) = postcard::take_from_bytes(state).ok()?;
        families.push(pairs);
        state = rest;
    }
    Some(families)
}

async fn fill(store: &impl Engine, families: Vec<Pairs>) -> Result<(), EngineError> {
    let mut batch = Batch::default();
    let families = (0..).map(Family).zip(families);
    for (family, (key, value)) in
        families.flat_map(|(family, pairs)| pairs.into_iter().map(move |p| (family, p)))
    {
        batch.put_in(family, key, value);
        if batch.changes.len() == PAIRS_PER_BATCH {
            store.write(std::mem::take(&mut batch), Durability::Lazy).await?;
        }
    }
    store.write(batch, Durability::Lazy).await?;
    store.sync().await
}
