//! The names: directories and files by path, and the changes that no sync has made durable yet.
//!
//! Metadata is journalled in order, as in ext4 and XFS: of the changes since the last sync a power
//! loss leaves a prefix. A `sync_dir` makes durable what changed in its directory, and by that order
//! all that came before; later changes elsewhere stay unpromised.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::rc::Rc;

use super::inode::Inode;

/// A file that names, handles and undoable changes share.
pub(crate) type SharedInode = Rc<RefCell<Inode>>;

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Directory,
    File(SharedInode),
}

/// One atomic change of names.
#[derive(Clone, Debug)]
struct Change {
    /// Whose entries changed.
    directories: [Rc<str>; 2],
    /// What the names stood for before, in the order of their change.
    before: Vec<(Rc<str>, Option<Node>)>,
    /// What they stand for after it.
    after: Vec<(Rc<str>, Option<Node>)>,
    /// The file system writes this content, as it was then, before the change.
    carries: Option<(SharedInode, u64)>,
}

/// One node's names. The root is the empty path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<Rc<str>, Node>,
    unsynced: VecDeque<Change>,
    /// How many changes are durable.
    synced: u64,
}

/// The directory that a path is in.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

impl Tree {
    pub(crate) fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || matches!(self.nodes.get(path), Some(Node::Directory))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        path.is_empty() || self.nodes.contains_key(path)
    }

    pub(crate) fn file(&self, path: &str) -> Option<SharedInode> {
        match self.nodes.get(path) {
            Some(Node::File(inode)) => Some(Rc::clone(inode)),
            _ => None,
        }
    }

    /// The names right below a directory, sorted.
    pub(crate) fn list(&self, directory: &str) -> Vec<String> {
        let below = self.below(directory).into_iter();
        let skip = if directory.is_empty() { 0 } else { directory.len() + 1 };
        below.map(|path| path[skip..].to_owned()).filter(|name| !name.contains('/')).collect()
    }

    /// All paths below a directory, sorted.
    pub(crate) fn below(&self, directory: &str) -> Vec<Rc<str>> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let paths = self.nodes.range::<str, _>(from).map(|(path, _)| path);
        paths.take_while(|path| path.starts_with(&prefix)).cloned().collect()
    }

    /// Gives names a new meaning, or none, in one atomic change.
    fn change(&mut self, names: Vec<(Rc<str>, Option<Node>)>, carries: Option<(SharedInode, u64)>) {
        let after = names.clone();
        let directory = |at: usize| Rc::from(parent(&names[at].0));
        let directories = [directory(0), directory(names.len() - 1)];
        let set = |(path, node): (Rc<str>, Option<Node>)| {
            let before = match node {
                Some(node) => self.nodes.insert(Rc::clone(&path), node),
                None => self.nodes.remove(&path),
            };
            (path, before)
        };
        let before = names.into_iter().map(set).collect();
        self.unsynced.push_back(Change { directories, before, after, carries });
    }

    pub(crate) fn create(&mut self, path: &str, node: Node) {
        self.change(vec![(path.into(), Some(node))], None);
    }

    pub(crate) fn remove(&mut self, path: &str) {
        self.change(vec![(path.into(), None)], None);
    }

    /// `carries`: if this replaces a file, the content of the new one goes first.
    pub(crate) fn rename(&mut self, from: &str, to: &str, file: SharedInode, carries: bool) {
        let generation = (carries && self.exists(to)).then(|| file.borrow_mut().mark());
        let carries = generation.map(|generation| (Rc::clone(&file), generation));
        self.change(vec![(from.into(), None), (to.into(), Some(Node::File(file)))], carries);
    }

    /// A sync of a directory is issued: which changes it covers, counted from the first ever made.
    pub(crate) fn sync_begins(&self, directory: &str) -> u64 {
        let last =
            self.unsynced.iter().rposition(|change| change.directories.iter().any(|d| **d == *directory));
        self.synced + last.map_or(0, |at| at as u64 + 1)
    }

    /// A sync completed.
    pub(crate) fn sync_ends(&mut self, covered: u64) {
        while self.synced < covered {
            let change = self.unsynced.pop_front().expect("a sync covers changes that were made");
            if let Some((file, generation)) = change.carries {
                file.borrow_mut().flush_ends(generation);
            }
            self.synced += 1;
        }
    }

    /// How many changes a power loss may undo.
    pub(crate) fn unsynced(&self) -> u64 {
        self.unsynced.len() as u64
    }

    /// The power fails, and only the first `survive` of the unsynced changes are there.
    pub(crate) fn power_loss(&mut self, survive: u64) {
        while self.unsynced() > survive {
            let change = self.unsynced.pop_back().expect("more changes than survive");
            for (path, before) in change.before.into_iter().rev() {
                match before {
                    Some(node) => self.nodes.insert(path, node),
                    None => self.nodes.remove(&path),
                };
            }
        }
        self.sync_ends(self.synced + survive);
    }

    /// The power fails on a file system that promises nothing: of the names that the unsynced changes
    /// concern, `survives` tells which have the new meaning. Returns how many have not.
    pub(crate) fn power_loss_in_any_order(&mut self, mut survives: impl FnMut(u64) -> bool) -> u64 {
        let after: Vec<_> = self.unsynced.iter().flat_map(|change| change.after.clone()).collect();
        self.power_loss(0);
        let mut undone = 0;
        for (number, (path, node)) in (0..).zip(after) {
            let has_place = node.is_none() || self.is_directory(parent(&path));
            if !survives(number) || !has_place {
                undone += 1;
                continue;
            }
            match node {
                Some(node) => self.nodes.insert(path, node),
                None => self.nodes.remove(&path),
            };
        }
        // A removed directory takes along what was to be removed before it.
        let lost: Vec<_> =
            self.nodes.keys().filter(|path| !self.is_directory(parent(path))).cloned().collect();
        lost.iter().for_each(|path| drop(self.nodes.remove(path)));
        undone
    }

    /// The same names for other files: `other` is asked once for each file that can be reached.
    pub(crate) fn with_files(&self, mut other: impl FnMut(&SharedInode) -> SharedInode) -> Self {
        let mut others: BTreeMap<u64, SharedInode> = BTreeMap::new();
        let mut file = |old: &SharedInode| {
            let id = old.borrow().id;
            Rc::clone(others.entry(id).or_insert_with(|| other(old)))
        };
        let mut node = |node: &mut Node| {
            if let Node::File(inode) = node {
                *inode = file(inode);
            }
        };
        let mut tree = self.clone();
        tree.nodes.values_mut().for_each(&mut node);
        for change in &mut tree.unsynced {
            change
                .before
                .iter_mut()
                .chain(&mut change.after)
                .filter_map(|(_, n)| n.as_mut())
                .for_each(&mut node);
        }
        for (inode, _) in tree.unsynced.iter_mut().filter_map(|change| change.carries.as_mut()) {
            *inode = file(inode);
        }
        tree
    }

    /// How many meanings of names the unsynced changes concern, one by one.
    pub(crate) fn unsynced_names(&self) -> u64 {
        self.unsynced.iter().map(|change| change.after.len() as u64).sum()
    }

    /// Every file that has a name, with its first name, once, however many it has.
    pub(crate) fn named_files(&self) -> impl Iterator<Item = (&Rc<str>, &SharedInode)> {
        let mut seen = BTreeSet::new();
        self.nodes.iter().filter_map(move |(path, node)| match node {
            Node::File(inode) => seen.insert(inode.borrow().id).then_some((path, inode)),
            Node::Directory => None,
        })
    }

    /// Every file that has a name, once, however many it has.
    pub(crate) fn files(&self) -> impl Iterator<Item = &SharedInode> {
        self.named_files().map(|(_, inode)| inode)
    }
}
