//! A database that is not ours, unchanged, on our disk: redb 4 behind its `StorageBackend`.
//!
//! redb promises that a commit survives once it has returned, and that no commit survives in part. If
//! it kept that promise on real disks and not here, our disk would be wrong; if it kept it here with
//! syncs that do nothing, our disk would be too kind. Each cycle commits transactions of random sizes,
//! cuts the power at a random operation, opens what is left, and compares with a model: the content is
//! that after some number of commits, with all that were promised and none that was never begun.
//!
//! `REDB_CYCLES=2000` tries more than the 500 that take a second.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use contract::Seed;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use sim::{DiskConfig, Platter, disk_profile};

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("t");
/// The key under which every commit leaves its number.
const NUMBER: u64 = u64::MAX;

/// What was found wrong.
type Loss = String;
/// Keys with their values.
type Content = BTreeMap<u64, Vec<u8>>;

/// A disk that loses its power after so many operations.
#[derive(Debug)]
struct Machine {
    platter: Platter,
    operations_left: u64,
    syncs: u64,
    /// One in so many syncs does nothing.
    lies: Option<u64>,
}

/// One start of the machine: redb's handle on it.
#[derive(Clone, Debug)]
struct Backend(Arc<Mutex<Machine>>);

fn no_power() -> io::Error {
    io::Error::other("the power is gone")
}

impl Backend {
    /// Whether there is still power for an operation that changes something.
    fn operate(&self, change: impl FnOnce(&mut Machine)) -> io::Result<()> {
        let machine = &mut *self.0.lock().expect("nobody panics with it");
        machine.operations_left = machine.operations_left.checked_sub(1).ok_or_else(no_power)?;
        change(machine);
        // The last operation is under way when the power fails: nobody hears of it.
        if machine.operations_left == 0 { Err(no_power()) } else { Ok(()) }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().expect("nobody panics with it").platter.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.0.lock().expect("nobody panics with it").platter.read_at(offset, out);
        if read == out.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operate(|machine| machine.platter.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate(|machine| {
            machine.syncs += 1;
            let lies = machine.lies.is_some_and(|every| machine.syncs.is_multiple_of(every));
            // A sync that is under way when the power fails may have done nothing.
            if !lies && machine.operations_left > 0 {
                machine.platter.sync();
            }
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.operate(|machine| machine.platter.write_at(offset, data))
    }
}

/// What the commits did, in order, and how many are promised.
#[derive(Default)]
struct Commits {
    /// After each number of commits.
    contents: Vec<Content>,
    promised: usize,
}

fn text(error: impl std::fmt::Display) -> Loss {
    error.to_string()
}

/// One transaction. Whether it was promised to survive.
fn commit(db: &Database, commits: &mut Commits, dice: &mut ChaCha8Rng) -> Result<bool, Loss> {
    let mut content = commits.contents.last().expect("there is a beginning").clone();
    let number = commits.contents.len() as u64;
    let mut transaction = db.begin_write().map_err(text)?;
    let lazy = dice.random_ratio(1, 5);
    transaction.set_durability(if lazy { Durability::None } else { Durability::Immediate }).map_err(text)?;
    transaction.set_two_phase_commit(dice.random());
    {
        let mut table = transaction.open_table(TABLE).map_err(text)?;
        for _ in 0..1 << dice.random_range(0..7) {
            let key = dice.random_range(0..300);
            if dice.random_ratio(1, 4) {
                table.remove(key).map_err(text)?;
                content.remove(&key);
            } else {
                let most = 1 << dice.random_range(1..13);
                let value = vec![dice.random(); dice.random_range(0..most)];
                table.insert(key, &*value).map_err(text)?;
                content.insert(key, value);
            }
        }
        table.insert(NUMBER, &number.to_le_bytes()[..]).map_err(text)?;
        content.insert(NUMBER, number.to_le_bytes().to_vec());
    }
    commits.contents.push(content);
    transaction.commit().map_err(text)?;
    Ok(!lazy)
}

fn content(db: &Database) -> Result<Content, Loss> {
    let transaction = db.begin_read().map_err(text)?;
    let table = match transaction.open_table(TABLE) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Content::new()),
        table => table.map_err(text)?,
    };
    let pair = |pair: Result<_, redb::StorageError>| {
        let (key, value): (redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, &[u8]>) = pair.map_err(text)?;
        Ok((key.value(), value.value().to_vec()))
    };
    table.iter().map_err(text)?.map(pair).collect()
}

/// Compares with the model, which forgets what the power loss took.
fn check(db: &mut Database, commits: &mut Commits) -> Result<(), Loss> {
    if !db.check_integrity().map_err(text)? {
        return Err("redb's own check of its integrity fails".to_owned());
    }
    let found = content(db)?;
    let number =
        found.get(&NUMBER).map_or(0, |n| u64::from_le_bytes((&**n).try_into().expect("eight bytes")));
    let number = number as usize;
    if number < commits.promised {
        return Err(format!("commit {} is gone, {number} are there", commits.promised));
    }
    if commits.contents.get(number) != Some(&found) {
        return Err(format!("the content is not that after {number} commits"));
    }
    commits.contents.truncate(number + 1);
    commits.promised = number;
    Ok(())
}

/// Cycles of work and power loss; the first loss, if there is one.
fn cycles(cycles: u64, disk: DiskConfig, lies: Option<u64>) -> Result<usize, Loss> {
    let mut dice = ChaCha8Rng::seed_from_u64(disk.torn_unit.into());
    let start = |platter, lies| {
        Backend(Arc::new(Mutex::new(Machine { platter, operations_left: u64::MAX, syncs: 0, lies })))
    };
    let backend = start(Platter::new(&disk), lies);
    let mut commits = Commits { contents: vec![Content::new()], promised: 0 };
    for cycle in 0..cycles {
        let at = |loss: Loss| format!("cycle {cycle}: {loss}");
        // The first cycle creates the database in peace; in some the power fails while it recovers.
        let most = 1 << dice.random_range(0..10);
        let power = dice.random_range(1..=most);
        backend.0.lock().expect("nobody panics with it").operations_left =
            if cycle == 0 { u64::MAX } else { power };
        if let Ok(db) = Database::builder().create_with_backend(backend.clone()) {
            for _ in 0..if cycle == 0 { 1 } else { 40 } {
                match commit(&db, &mut commits, &mut dice) {
                    Ok(true) => commits.promised = commits.contents.len() - 1,
                    Ok(false) => {}
                    Err(_) => break,
                }
            }
            // As a process dies: what closing would write finds no power.
            backend.0.lock().expect("nobody panics with it").operations_left = 0;
        }
        {
            let machine = &mut *backend.0.lock().expect("nobody panics with it");
            machine.platter.power_loss(Seed(cycle));
            machine.operations_left = u64::MAX;
        }
        // Looked at as it was left, on a copy: what opening repairs is no part of the next cycle.
        let copy = start(backend.0.lock().expect("nobody panics with it").platter.clone(), None);
        let mut db = Database::builder().create_with_backend(copy).map_err(text).map_err(at)?;
        check(&mut db, &mut commits).map_err(at)?;
    }
    Ok(commits.contents.len())
}

/// Sectors that the device writes whole, and sectors that are torn at any byte.
fn disks() -> [DiskConfig; 2] {
    let nvme = disk_profile("nvme").expect("a known profile");
    [nvme, DiskConfig { torn_unit: 1, ..nvme }]
}

#[test]
fn redb_loses_no_commit_and_invents_none() {
    let count = std::env::var("REDB_CYCLES").map_or(500, |count| count.parse().expect("a number of cycles"));
    for disk in disks() {
        let commits = cycles(count / 2, disk, None).unwrap_or_else(|loss| panic!("{loss}"));
        println!("torn unit {}: {} cycles left {commits} commits", disk.torn_unit, count / 2);
        assert!(commits as u64 > count / 2, "{commits} commits in {count} cycles say little");
    }
}

#[test]
fn redb_on_a_disk_whose_syncs_lie_is_caught() {
    for disk in disks() {
        for one_in in [1, 7] {
            let loss = cycles(200, disk, Some(one_in)).expect_err("what it synced was not durable");
            println!("torn unit {}, one sync in {one_in} lies: {loss}", disk.torn_unit);
        }
    }
}
