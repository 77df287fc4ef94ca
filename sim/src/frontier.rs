//! The crash frontier: everything that a power loss at one moment may leave of a disk.
//!
//! A [crash](crate::World::crash) draws one of the images that the disk's rules permit. A frontier
//! lists them all: the names that may survive; for each file that then has a name, the sizes; and for
//! each unit of sectors that then has un-flushed content, its durable content and all later ones.
//! Writes that are under way count as un-flushed. Nothing is simulated again: the disk is frozen once,
//! its pages are shared with every image, and an image copies what it changes.
//!
//! gosim enumerates subsets of un-synced writes, CrashMonkey permutes writes between barriers (Mohan and
//! others, OSDI'18); here the permitted images themselves are enumerated, sector by sector.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::config::Persistence;
use crate::disk::inode::Inode;
use crate::disk::loss::{Fate, Lot, Lots, OpenUnit, Semantics};
use crate::disk::tree::Tree;

/// Beyond so many changes of names, each of which may survive by itself, nobody enumerates.
const NAMES_MOST: u64 = 16;

/// Where a sector is torn in turn, in bytes after its first: in a record's header, and in its middle.
const TEARS: [u64; 4] = [3, 15, 255, 495];

/// Everything that a power loss may leave of one node's disk. See
/// [`World::crash_frontier`](crate::World::crash_frontier).
#[derive(Debug)]
pub struct Frontier {
    semantics: Semantics,
    /// How many files the disk ever had.
    files: u64,
    names: Vec<Names>,
}

/// One way in which the changes of names may survive.
#[derive(Debug)]
struct Names {
    /// Which do, in order.
    survive: Vec<bool>,
    tree: Tree,
    files: Vec<FileWays>,
}

/// The ways in which one file may survive.
#[derive(Debug)]
struct FileWays {
    id: u64,
    path: Rc<str>,
    /// By how many size changes survive.
    ways: Vec<Vec<OpenUnit>>,
    /// What is left of it, if that is certain.
    settled: Option<Inode>,
}

/// What survives in one image of a [`Frontier`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    names: usize,
    /// Per file: how many size changes survive, and what becomes of its open units.
    files: Vec<(usize, Vec<Lot>)>,
}

/// What a power loss, or the end of a process, left: a disk to [boot](crate::World::put_disk) from.
#[derive(Debug)]
pub struct Image {
    pub(crate) tree: Tree,
    pub(crate) files: u64,
}

/// Decides as it was told.
struct Chosen<'a> {
    sizes: u64,
    lots: std::slice::Iter<'a, Lot>,
}

impl Lots for Chosen<'_> {
    fn sizes(&mut self, _: u64) -> u64 {
        self.sizes
    }

    fn unit(&mut self, _: OpenUnit) -> Lot {
        *self.lots.next().expect("the units that were found open are those that are")
    }

    fn spoils(&mut self, _: u64, _: u32) -> bool {
        false
    }
}

/// Notes what is open.
struct Survey {
    sizes: u64,
    open: Vec<OpenUnit>,
}

impl Lots for Survey {
    fn sizes(&mut self, _: u64) -> u64 {
        self.sizes
    }

    fn unit(&mut self, open: OpenUnit) -> Lot {
        self.open.push(open);
        Lot::DROPPED
    }

    fn spoils(&mut self, _: u64, _: u32) -> bool {
        false
    }
}

impl Lot {
    const DROPPED: Self = Self { fate: Fate::Dropped, content: 1, bits: 0 };

    /// Digit 0: dropped; others: the content of that number.
    fn of(digit: u64) -> Self {
        if digit == 0 { Self::DROPPED } else { Self { fate: Fate::Kept, content: digit, bits: 0 } }
    }
}

/// All numbers with these radices, counted up from zeros.
fn odometer(radices: Vec<u64>) -> impl Iterator<Item = Vec<u64>> {
    let mut next = Some(vec![0; radices.len()]);
    std::iter::from_fn(move || {
        let now = next.take()?;
        let mut digits = now.clone();
        for (digit, radix) in digits.iter_mut().zip(&radices) {
            *digit += 1;
            if *digit < *radix {
                next = Some(digits);
                break;
            }
            *digit = 0;
        }
        Some(now)
    })
}

fn fresh_copy(tree: &Tree) -> Tree {
    tree.with_files(|file| Rc::new(RefCell::new(file.borrow().clone())))
}

impl FileWays {
    fn new(path: &Rc<str>, file: &Inode, semantics: Semantics) -> Self {
        let mut settled = None;
        let way = |sizes| {
            let mut survey = Survey { sizes, open: Vec::new() };
            let mut file = file.clone();
            let _ = file.power_loss(semantics, &mut survey, |_, _| ());
            settled = Some(file);
            survey.open
        };
        let ways: Vec<_> = (0..=file.size_changes()).map(way).collect();
        let is_certain = ways.len() == 1 && ways[0].is_empty();
        Self { id: file.id, path: Rc::clone(path), ways, settled: settled.filter(|_| is_certain) }
    }
}

impl Names {
    /// `tree` is a copy that nobody else uses.
    fn new(mut tree: Tree, survive: Vec<bool>, semantics: Semantics) -> Self {
        if semantics.persistence == Persistence::PosixWeak {
            let _ = tree.power_loss_in_any_order(|number| survive[number as usize]);
        } else {
            tree.power_loss(survive.iter().filter(|survives| **survives).count() as u64);
        }
        let ways =
            |(path, file): (&Rc<str>, &Rc<RefCell<Inode>>)| FileWays::new(path, &file.borrow(), semantics);
        let files = tree.named_files().map(ways).collect();
        Self { survive, tree, files }
    }

    /// How many size changes may survive, file by file.
    fn sizes(&self) -> impl Iterator<Item = Vec<u64>> + use<> {
        odometer(self.files.iter().map(|file| file.ways.len() as u64).collect())
    }

    /// The open units, file by file.
    fn units<'a>(&'a self, sizes: &'a [u64]) -> impl Iterator<Item = &'a [OpenUnit]> {
        self.files.iter().zip(sizes).map(|(file, sizes)| &*file.ways[*sizes as usize])
    }
}

impl Frontier {
    /// Of a frozen tree, which nobody else uses.
    pub(crate) fn new(tree: &Tree, semantics: Semantics, files: u64) -> Self {
        let all = match semantics.persistence {
            Persistence::PosixWeak => {
                let names = tree.unsynced_names();
                assert!(names <= NAMES_MOST, "{names} changes of names, each by itself, are too many");
                odometer(vec![2; names as usize])
                    .map(|bits| bits.into_iter().map(|bit| bit == 1).collect())
                    .collect()
            }
            _ => {
                let changes = tree.unsynced();
                (0..=changes).map(|survive| (0..changes).map(|at| at < survive).collect()).collect::<Vec<_>>()
            }
        };
        let names = all.into_iter().map(|survive| Names::new(fresh_copy(tree), survive, semantics)).collect();
        Self { semantics, files, names }
    }

    /// How many things are open: changes of names and sizes, and units of sectors, where most survive.
    pub fn open(&self) -> usize {
        let of = |names: &Names| -> usize {
            let sizes: usize = names.files.iter().map(|file| file.ways.len() - 1).sum();
            let units = |file: &FileWays| file.ways.iter().map(Vec::len).max().unwrap_or(0);
            names.survive.len() + sizes + names.files.iter().map(units).sum::<usize>()
        };
        self.names.iter().map(of).max().unwrap_or(0)
    }

    /// How many images [`Frontier::choices`] lists; at most `u64::MAX`.
    pub fn count(&self) -> u64 {
        let of_file = |file: &FileWays| -> u64 {
            let of_way = |units: &Vec<OpenUnit>| {
                units.iter().fold(1_u64, |product, unit| product.saturating_mul(unit.contents + 1))
            };
            file.ways.iter().map(of_way).fold(0, u64::saturating_add)
        };
        let of_names = |names: &Names| names.files.iter().map(of_file).fold(1, u64::saturating_mul);
        self.names.iter().map(of_names).fold(0, u64::saturating_add)
    }

    /// Every image in which each unit has its durable content or a later one, whole.
    pub fn choices(&self) -> impl Iterator<Item = Choices> + '_ {
        self.skeletons().flat_map(move |(number, sizes)| {
            let radices = self.names[number].units(&sizes).flatten().map(|unit| unit.contents + 1).collect();
            odometer(radices).map(move |digits| {
                let mut digits = digits.into_iter();
                let mut lots =
                    |units: &[OpenUnit]| digits.by_ref().take(units.len()).map(Lot::of).collect::<Vec<_>>();
                let files = self.names[number].units(&sizes).map(&mut lots);
                let files = sizes.iter().map(|size| *size as usize).zip(files).collect();
                Choices { names: number, files }
            })
        })
    }

    /// Each unit torn, at several places and in each of its later contents, and each in which nothing was
    /// durable full of garbage, in turn: among others that are all dropped, and among others all kept.
    /// Units that the device writes whole are not torn.
    pub fn spoiled(&self) -> impl Iterator<Item = Choices> + '_ {
        self.skeletons().flat_map(move |(number, sizes)| {
            let units: Vec<OpenUnit> = self.names[number].units(&sizes).flatten().copied().collect();
            let spoiled =
                (0..units.len()).flat_map(|at| self.lots_that_spoil(units[at]).map(move |lot| (at, lot)));
            let both = spoiled.flat_map(|spoiled| [(spoiled, false), (spoiled, true)]);
            let mut all = Vec::new();
            for ((at, lot), kept) in both {
                let mut place = 0;
                let mut lots = |own: &[OpenUnit]| {
                    let others = own.iter().map(|unit| Lot::of(if kept { unit.contents } else { 0 }));
                    let mut lots: Vec<Lot> = others.collect();
                    if let Some(lots) = lots.get_mut(at.wrapping_sub(place)) {
                        *lots = lot;
                    }
                    place += own.len();
                    lots
                };
                let files = self.names[number].units(&sizes).map(&mut lots);
                let files = sizes.iter().map(|size| *size as usize).zip(files).collect();
                all.push(Choices { names: number, files });
            }
            all
        })
    }

    fn lots_that_spoil(&self, unit: OpenUnit) -> impl Iterator<Item = Lot> + use<> {
        let tears = self.semantics.tears_sectors_at().map_or(&[][..], |_| &TEARS);
        let contents = 1..=unit.contents;
        let torn = contents.flat_map(move |content| {
            tears.iter().map(move |bits| Lot { fate: Fate::Torn, content, bits: *bits })
        });
        let garbage = Lot { fate: Fate::Garbage, content: unit.contents, bits: unit.first };
        torn.chain(unit.fresh.then_some(garbage))
    }

    /// Names and sizes, decided.
    fn skeletons(&self) -> impl Iterator<Item = (usize, Vec<u64>)> + '_ {
        self.names.iter().enumerate().flat_map(|(at, names)| names.sizes().map(move |sizes| (at, sizes)))
    }

    /// The disk after a power loss that left this.
    ///
    /// # Panics
    /// If the choices are another frontier's.
    pub fn image(&self, choices: &Choices) -> Image {
        let names = &self.names[choices.names];
        assert_eq!(names.files.len(), choices.files.len(), "the choices of another frontier");
        let tree = names.tree.with_files(|file| {
            let file = file.borrow();
            let at = names.files.iter().position(|ways| ways.id == file.id);
            let at = at.expect("every file with a name has its ways");
            if let Some(settled) = &names.files[at].settled {
                return Rc::new(RefCell::new(settled.clone()));
            }
            let (sizes, lots) = &choices.files[at];
            let mut chosen = Chosen { sizes: *sizes as u64, lots: lots.iter() };
            let mut left = file.clone();
            let _ = left.power_loss(self.semantics, &mut chosen, |_, _| ());
            assert!(chosen.lots.next().is_none(), "the choices of another frontier");
            Rc::new(RefCell::new(left))
        });
        Image { tree, files: self.files }
    }

    /// What survives, in words.
    pub fn describe(&self, choices: &Choices) -> impl fmt::Display {
        let names = &self.names[choices.names];
        let kept = names.survive.iter().filter(|survives| **survives).count();
        let mut text = format!("{kept} of {} changes of names", names.survive.len());
        for (file, (sizes, lots)) in names.files.iter().zip(&choices.files) {
            if file.settled.is_some() {
                continue;
            }
            text += &format!("; {}: {sizes} of {} sizes", file.path, file.ways.len() - 1);
            for (unit, lot) in file.ways[*sizes].iter().zip(lots) {
                text += &format!(", sector {} {:?}", unit.first, lot.fate);
                if matches!(lot.fate, Fate::Kept | Fate::Torn) && unit.contents > 1 {
                    text += &format!(" ({} of {})", lot.content, unit.contents);
                }
            }
        }
        text
    }
}
