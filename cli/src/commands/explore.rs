//! `seedbed explore`: every state that a protocol can come to within bounds.

mod progress;
mod summary;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use testbed::explore::{Bounds, Exploration, Found, Order, Outcome, Search, Trace};
use testbed::{Bugs, registry};

use crate::args::{ExploreArgs, SearchOrder};
use crate::exit::Exit;
use crate::interrupt::stop_on_interrupt;
use crate::memory::Memory;
use crate::problem::Problem;
use crate::stopwatch::Stopwatch;
use crate::term::{Out, Term};
use progress::Line;

/// How often the clock, the memory and the keyboard are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Why an exploration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All states were looked at, or a law was seen broken.
    Done,
    /// The time is over.
    Time,
    /// So much memory was not granted.
    Memory,
    /// The user said so.
    Interrupted,
}

/// An exploration that ended.
struct Explored {
    outcome: Outcome,
    end: End,
    /// All states that lie no deeper were looked at, as far as that is known.
    depth: Option<u64>,
    took: Duration,
    /// In bytes.
    memory: Option<u64>,
    /// Where the counterexample was saved.
    saved: Option<PathBuf>,
}

/// Explores, and tells what it came to.
pub(crate) fn run(args: &ExploreArgs, term: &Term) -> Result<Exit, Problem> {
    let exploration = exploration(args)?;
    if let Some(address) = &args.serve {
        return serve(&exploration, address, term);
    }
    let mut explored = explore(args, &exploration, term)?;
    if let Some(found) = &explored.outcome.found {
        explored.saved = Some(save(args, &exploration, found)?);
    }
    summary::show(args, &exploration, &explored, term);
    Ok(match (&explored.outcome.found, explored.outcome.complete) {
        (Some(_), _) => Exit::Violation,
        (None, true) => Exit::Holds,
        (None, false) => Exit::Inconclusive,
    })
}

fn exploration(args: &ExploreArgs) -> Result<Exploration, Problem> {
    let search_by_depth = args.order == SearchOrder::Depth || args.jobs > 1;
    if args.bounds.depth.is_some() && search_by_depth {
        let why = "--depth needs --order breadth and one job: what is come to on a longer way first is cut off there";
        return Err(Problem::Exploration(why.to_owned()));
    }
    let bounds = &args.bounds;
    let bounds = Bounds {
        nodes: bounds.nodes,
        founders: bounds.founders,
        asked: bounds.asked,
        controls: bounds.control.clone(),
        epochs: bounds.epochs,
        depth: bounds.depth,
        writes: bounds.writes,
        reads: bounds.reads,
        timers: bounds.timers,
        crashes: bounds.crashes,
        overtakes: bounds.overtakes,
        duplicates: bounds.duplicates,
        disconnects: bounds.disconnects,
        flushes: bounds.flushes,
        retries: bounds.retries,
        slow_service: bounds.slow_service,
        symmetric: bounds.symmetric,
        chunk_bytes: u32::try_from(bounds.chunk).unwrap_or(u32::MAX),
    };
    let protocol = args.protocol.clone();
    Ok(Exploration { protocol, options: args.options.clone(), bugs: Bugs(args.bug), bounds })
}

fn explore(args: &ExploreArgs, exploration: &Exploration, term: &Term) -> Result<Explored, Problem> {
    let order = match args.order {
        SearchOrder::Breadth => Order::Breadth,
        SearchOrder::Depth => Order::Depth,
    };
    let search = Search { order, threads: usize::from(args.jobs) };
    let ready = registry::explore(exploration).map_err(Problem::Exploration)?;
    let watch = Stopwatch::start();
    let interrupted = stop_on_interrupt();
    let running = ready.search(search);
    let line = Line::start(args.time, term);
    let (mut end, mut depth) = (End::Done, None);
    // Nobody sends anything: it is a clock that can be waited for.
    let (_never, tick) = mpsc::channel::<()>();
    while !running.is_done() {
        assert_eq!(tick.recv_timeout(TICK), Err(RecvTimeoutError::Timeout));
        let (progress, memory) = (running.progress(), Memory::read());
        line.tick(progress, watch.elapsed(), memory);
        let why = if interrupted.load(Ordering::Relaxed) {
            End::Interrupted
        } else if args.time.is_some_and(|time| watch.elapsed() >= time) {
            End::Time
        } else if memory.is_some_and(|memory| memory.now >= args.memory) {
            End::Memory
        } else {
            continue;
        };
        if end == End::Done {
            (end, depth) = (why, Some(progress.depth));
            running.stop();
        }
    }
    line.finish();
    let outcome = running.finish();
    // What went roughly by depth tells nothing of how deep it looked everywhere.
    let depth = depth.filter(|_| search == Search { order: Order::Breadth, threads: 1 });
    let memory = Memory::read().map(|memory| memory.peak);
    Ok(Explored { outcome, end, depth, took: watch.elapsed(), memory, saved: None })
}

fn save(args: &ExploreArgs, exploration: &Exploration, found: &Found) -> Result<PathBuf, Problem> {
    let path = args.out.clone().unwrap_or_else(|| {
        let bug = args.bug.map_or(String::new(), |bug| format!("-{bug}"));
        PathBuf::from(format!("runs/explore-{}{bug}.json", args.protocol))
    });
    Trace::new(exploration.clone(), found).save(&path)?;
    Ok(path)
}

fn serve(exploration: &Exploration, address: &str, term: &Term) -> Result<Exit, Problem> {
    let ready = registry::explore(exploration).map_err(Problem::Exploration)?;
    let refuse = |error| Problem::Exploration(format!("--serve {address}: {error}"));
    let addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(refuse)?.collect();
    // The Explorer gives no error back: whether it can listen there is tried before.
    drop(TcpListener::bind(&addresses[..]).map_err(refuse)?);
    term.write(Out::Stdout, &format!("the Explorer listens at http://{address}\n"));
    ready.serve(&addresses);
    Ok(Exit::Holds)
}
