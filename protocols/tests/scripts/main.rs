//! Protocols as scripts: each file in `testscripts/PROTOCOL` is a case, in which a reader sees commands and
//! messages only. To write their outputs anew: `UPDATE_GOLDENFILES=1 cargo test`, then read them.
//!
//! A cluster of replicas on hosts whose writes and whose service's work complete at once, unless a
//! script holds them. Messages wait in the queue of their link until a script delivers them.
//!
//! | Command | Does |
//! |---|---|
//! | `cluster nodes=N [bug=NAME] [OPTION=VALUE]…` | starts N replicas on empty disks, and forgets all before |
//! | … `[voters=1,2] [learners=3] [witnesses=2]` | the part that they take at first; all vote by default |
//! | a timer's name, `N` | fires it; of Raft: `campaign`, `lapse` and `check-quorum` (the election timer of whoever stands, is loyal, leads), `heartbeat`, `lease-0`, `lease-1`, `handover`; of ZAB: `notify`, `finalize`, `tick`, `limit`; of Multi-Paxos also `doubt` (of the leader), `ask-again`, `lease-end-a`, `lease-end-b`; of VR: `view-change`, `heartbeat`; of ABD: `resend`; of Paxos: `retry` |
//! | `propose N COMMAND`, `read N` | a client's request; numbered `r1`, `r2`, … |
//! | `get N KEY`, `put N KEY VALUE`, `decide N KEY VALUE` | the same, of a protocol that answers by itself |
//! | `again N` | the last one of these comes a second time |
//! | `stand N`, `transfer N TO`, `compact N` | an operator's request |
//! | `reconfigure N VOTERS [learners=L] [witnesses=W]` | the same, with nodes as in `"1,2,4"` |
//! | `disconnect A-B` | the stream breaks: what is in flight either way is lost, and both hear of it |
//! | `deliver [A-B] [COUNT]` | delivers what waits on a link, or on every link, oldest first |
//! | `drop [A-B] [COUNT]`, `duplicate A-B`, `postpone A-B` | loses; repeats the first as the last; makes it the last |
//! | `isolate N…`, `heal` | loses whatever is delivered to or from those nodes, or on streams holds it back; no longer |
//! | `stabilize` | delivers until nothing is left to deliver |
//! | `hold-durable N`, `durable N [COUNT]`, `resume-durable N` | writes wait; the oldest complete; all do, from now on |
//! | `hold-service N`, `resume-service N` | the same for the service's work |
//! | `flush N` | the service's state becomes durable |
//! | `crash N`, `restart N` | a power loss and a start on what was durable; `crash` alone leaves it down |
//! | `fail N` | the journal refuses the oldest write under way |
//! | `status`, `log N`, `records N`, `network` | shows all replicas, a log, a journal, what is in flight |

#[path = "../host/mod.rs"]
mod host;
mod protocols;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::fmt::{Display, Write as _};

use contract::kv::Op;
use contract::{
    Bugs, Channel, ClientId, Cluster, Command, Control, Effect, Entry, Membership, NodeId, Payload,
    ProtocolOptions, Replica, Request, RequestId, Service, Time, View,
};
use goldenscript::{Argument, Context};
use host::{Fx, Host, Outgoing, Write};
use protocols::Scripted;
use seedbed_protocols::KvService;

type Link = (NodeId, NodeId);
type Outcome = Result<(), Box<dyn Error>>;

struct Script<R: Replica> {
    hosts: BTreeMap<NodeId, Host<R>>,
    down: BTreeSet<NodeId>,
    isolated: BTreeSet<NodeId>,
    holds_writes: BTreeSet<NodeId>,
    holds_work: BTreeSet<NodeId>,
    links: BTreeMap<Link, VecDeque<Outgoing<R::Message>>>,
    /// Who believes in a stream to whom; of protocols that use them.
    streams: BTreeSet<Link>,
    requests: u64,
    /// The last one that a protocol was to answer by itself.
    sent: Option<Request<Op>>,
    output: String,
}

struct Shown<'a>(&'a Entry);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0.payload {
            Payload::Command(command) => write!(f, "{} {}", self.0.mark, command.data),
            Payload::Noop => write!(f, "{} no-op", self.0.mark),
            Payload::Membership(membership) => write!(f, "{} membership {membership}", self.0.mark),
        }
    }
}

struct Flying<'a, M>(&'a Outgoing<M>);

impl<M: Display> Display for Flying<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Outgoing::Message(message) => message.fmt(f),
            Outgoing::Break => f.write_str("the end of the stream"),
        }
    }
}

fn is_sent<R: Replica>(effect: &Effect<R>) -> bool {
    matches!(effect, Effect::Send { .. } | Effect::Disconnect { .. })
}

fn joined(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}

/// `None` for what would only be noise: timers, which are shown by firing them.
fn show<R: Scripted>(effect: &Effect<R>) -> Option<String> {
    Some(match effect {
        Effect::Send { to, message, after: Some(token) } => format!("-> {to} {message} (after {token})"),
        Effect::Send { to, message, after: None } => format!("-> {to} {message}"),
        Effect::Disconnect { peer } => format!("breaks the stream to {peer}"),
        Effect::Persist { token, records } => {
            format!("persist {token}: {}", joined(records.iter().map(ToString::to_string)))
        }
        Effect::SetTimer { .. } | Effect::CancelTimer(_) => return None,
        Effect::Commit(entries) => {
            format!("commit {}", joined(entries.iter().map(|entry| Shown(entry).to_string())))
        }
        Effect::Proposed { request, mark } => format!("{request} proposed at {mark}"),
        Effect::ReadAt { request, index } => format!("{request} reads at {index}"),
        Effect::Reply { request, answer, after } => {
            let answer = KvService::decode_answer(answer);
            let after = after.map_or_else(String::new, |token| format!(" (after {token})"));
            format!("{request} answered {answer}{after}")
        }
        Effect::Controlled { request } => format!("{request} done"),
        Effect::Reject { request, reason } => format!("{request} rejected: {reason}"),
        Effect::ReadChunk { to, snapshot: None, .. } => format!("read first chunk for {to}"),
        Effect::ReadChunk { to, snapshot: Some(snapshot), offset } => {
            format!("read chunk for {to}: {snapshot} from byte {offset}")
        }
        Effect::Stage(chunk) => format!("stage {} from byte {}", chunk.snapshot, chunk.offset),
        Effect::Install { token, snapshot } => format!("install {snapshot} as {token}"),
        Effect::Purge { below } => format!("purge below {below}"),
    })
}

fn node(text: &str) -> Result<NodeId, Box<dyn Error>> {
    Ok(NodeId::new(text.parse()?))
}

fn link(text: &str) -> Result<Link, Box<dyn Error>> {
    let (from, to) = text.split_once('-').ok_or_else(|| format!("`{text}` is no link: A-B"))?;
    Ok((node(from)?, node(to)?))
}

fn nodes_of(text: &str) -> Result<BTreeSet<NodeId>, Box<dyn Error>> {
    text.split(',').map(node).collect()
}

impl<R: Scripted> Script<R> {
    fn new() -> Self {
        Self {
            hosts: BTreeMap::new(),
            down: BTreeSet::new(),
            isolated: BTreeSet::new(),
            holds_writes: BTreeSet::new(),
            holds_work: BTreeSet::new(),
            links: BTreeMap::new(),
            streams: BTreeSet::new(),
            requests: 0,
            sent: None,
            output: String::new(),
        }
    }

    fn host(&mut self, id: NodeId) -> &mut Host<R> {
        self.hosts.get_mut(&id).expect("the cluster has that node")
    }

    /// Shows what a step of a replica did, and completes what is not held.
    fn stepped(&mut self, id: NodeId, what: &str, before: Option<View>, effects: &Fx<R>) {
        let host = &self.hosts[&id];
        let after = host.replica.view();
        let _ = writeln!(self.output, "{id} {what}");
        for line in effects.iter().filter_map(show) {
            let _ = writeln!(self.output, "  {line}");
        }
        if before.is_none_or(|before| (before.role, before.epoch) != (after.role, after.epoch)) {
            let _ = writeln!(self.output, "  is {after}");
        }
        self.collect(id);
    }

    fn collect(&mut self, id: NodeId) {
        for (to, outgoing) in std::mem::take(&mut self.host(id).outbox) {
            if let Outgoing::Message(_) = outgoing {
                if R::CHANNEL == Channel::Stream {
                    self.streams.extend([(id, to), (to, id)]);
                }
            } else if self.streams.remove(&(id, to)) {
                // The peer hears of it behind what came before; what it sends until then is lost.
                self.lose((to, id), usize::MAX);
            } else {
                continue;
            }
            self.links.entry((id, to)).or_default().push_back(outgoing);
        }
    }

    /// Loses what waits on a link, from the oldest on.
    fn lose(&mut self, (from, to): Link, count: usize) {
        let queue = self.links.entry((from, to)).or_default();
        for outgoing in queue.drain(..count.min(queue.len())) {
            let _ = writeln!(self.output, "{from}->{to} lost: {}", Flying(&outgoing));
        }
    }

    /// A node hears that its stream to a peer is broken.
    fn disconnected(&mut self, id: NodeId, peer: NodeId) {
        if self.streams.remove(&(id, peer)) && !self.down.contains(&id) {
            self.step(id, &format!("is disconnected from {peer}"), |host| host.disconnected(peer));
        }
    }

    /// The streams of a node that goes down.
    fn break_streams(&mut self, id: NodeId) {
        for link in self.busy() {
            if R::CHANNEL == Channel::Stream && (link.0 == id || link.1 == id) {
                self.lose(link, usize::MAX);
            }
        }
        self.streams.retain(|(from, _)| *from != id);
    }

    fn step(&mut self, id: NodeId, what: &str, action: impl FnOnce(&mut Host<R>) -> Fx<R>) {
        assert!(!self.down.contains(&id), "{id} is down");
        let host = self.host(id);
        let before = host.replica.view();
        let effects = action(host);
        self.stepped(id, what, Some(before), &effects);
        self.complete(id);
    }

    fn complete(&mut self, id: NodeId) {
        loop {
            let (writes, work) = (self.holds_writes.contains(&id), self.holds_work.contains(&id));
            if !writes && self.complete_write(id) || !work && self.complete_work(id) {
                continue;
            }
            return;
        }
    }

    fn complete_write(&mut self, id: NodeId) -> bool {
        let host = self.host(id);
        let before = host.replica.view();
        let Some((token, effects)) = host.complete_write() else { return false };
        let released = host.outbox.len() > effects.iter().filter(|effect| is_sent(effect)).count();
        self.collect(id);
        if released || !effects.is_empty() {
            self.stepped(id, &format!("{token} is durable"), Some(before), &effects);
        }
        true
    }

    fn complete_work(&mut self, id: NodeId) -> bool {
        let host = self.host(id);
        let before = host.replica.view();
        let Some(effects) = host.complete_work() else { return false };
        if !effects.is_empty() {
            self.stepped(id, "service done", Some(before), &effects);
        }
        true
    }

    fn deliver(&mut self, (from, to): Link, count: usize) {
        for _ in 0..count {
            if self.is_stuck((from, to)) {
                return;
            }
            let Some(outgoing) = self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
                return;
            };
            if self.is_cut((from, to)) || self.down.contains(&to) {
                let _ = writeln!(self.output, "{from}->{to} lost: {}", Flying(&outgoing));
                continue;
            }
            let Outgoing::Message(message) = outgoing else {
                self.lose((to, from), usize::MAX);
                self.disconnected(to, from);
                continue;
            };
            let what = format!("<- {from} {message}");
            self.step(to, &what, |host| host.step(|replica, fx| replica.on_message(from, message, fx)));
        }
    }

    fn busy(&self) -> Vec<Link> {
        self.links.iter().filter(|(_, queue)| !queue.is_empty()).map(|(link, _)| *link).collect()
    }

    fn is_cut(&self, (from, to): Link) -> bool {
        [from, to].iter().any(|id| self.isolated.contains(id))
    }

    /// A stream that is cut off sends again what is lost, as long as it lasts.
    fn is_stuck(&self, link: Link) -> bool {
        R::CHANNEL == Channel::Stream && self.is_cut(link)
    }

    fn restart(&mut self, id: NodeId) {
        self.break_streams(id);
        self.down.insert(id);
        let host = self.hosts.remove(&id).expect("the cluster has that node");
        let (host, effects) = host.restart(0, 0);
        self.hosts.insert(id, host);
        for peer in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.disconnected(peer, id);
        }
        self.down.remove(&id);
        self.stepped(id, "restarts", None, &effects);
        self.complete(id);
    }

    fn start_cluster(&mut self, mut options: BTreeMap<&str, &str>) -> Outcome {
        *self = Self::new();
        let nodes: u16 = options.remove("nodes").ok_or("how many nodes?")?.parse()?;
        let bug = options.remove("bug").map(str::parse).transpose()?;
        let mut part = |name| options.remove(name).map(nodes_of).transpose();
        let (voters, learners, witnesses) = (part("voters")?, part("learners")?, part("witnesses")?);
        for (option, value) in R::OPTIONS {
            options.entry(option).or_insert(value);
        }
        // The options as a scenario has them, where small ones make short scripts.
        let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::from(text));
        let tuned: serde_json::Map<_, _> =
            options.iter().map(|(option, text)| ((*option).to_owned(), value(text))).collect();
        let options: R::Options = serde_json::from_value(tuned.into())?;
        options.check()?;
        for id in (1..=nodes).map(NodeId::new) {
            let mut cluster = Cluster::new(id, nodes, options.clone());
            cluster.bugs = Bugs(bug);
            cluster.founders.learners = learners.clone().unwrap_or_default();
            cluster.founders.witnesses = witnesses.clone().unwrap_or_default();
            if let Some(voters) = &voters {
                cluster.founders.voters.clone_from(voters);
            }
            if let (None, Some(learners)) = (&voters, &learners) {
                cluster.founders.voters.retain(|node| !learners.contains(node));
            }
            self.hosts.insert(id, Host::start(cluster).0);
            self.collect(id);
        }
        for id in (1..=nodes).map(NodeId::new) {
            self.complete(id);
        }
        // How it comes up is not what a script is about.
        self.output.clear();
        Ok(())
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn run_command(&mut self, name: &str, args: &[&str]) -> Outcome {
        let count = |place: usize| args.get(place).map_or(Ok(usize::MAX), |count| count.parse());
        let first = args.first().copied();
        let target = || node(first.ok_or("which node?")?);
        match name {
            "propose" => {
                let request = self.request();
                let data = args[1..].join(" ").as_str().into();
                let command = Command { proposed_at: Time::ZERO, data };
                let what = format!("{request} propose {}", command.data);
                self.step(target()?, &what, |host| {
                    host.step(|replica, fx| replica.propose(request, command, fx))
                });
            }
            "get" | "put" | "decide" => {
                let text = |place: usize| args.get(place).map_or_else(|| "".into(), |text| (*text).into());
                let op = match name {
                    "get" => Op::Get { key: text(1) },
                    "put" => Op::Put { key: text(1), value: text(2) },
                    _ => Op::Decide { key: text(1), value: text(2) },
                };
                let sent = Request { client: ClientId(1), seq: self.requests + 1, op };
                self.send(target()?, &sent);
                self.sent = Some(sent);
            }
            "again" => {
                let sent = self.sent.clone().ok_or("nothing was sent")?;
                self.send(target()?, &sent);
            }
            "stand" => self.control(target()?, Control::Campaign),
            "compact" => self.control(target()?, Control::Compact),
            "transfer" => {
                let to = node(args.get(1).ok_or("to whom?")?)?;
                self.control(target()?, Control::Transfer { to });
            }
            "reconfigure" => {
                let mut to =
                    Membership { voters: nodes_of(args.get(1).ok_or("to whom?")?)?, ..Membership::default() };
                for argument in &args[2..] {
                    match argument.split_once('=') {
                        Some(("learners", list)) => to.learners = nodes_of(list)?,
                        Some(("witnesses", list)) => to.witnesses = nodes_of(list)?,
                        _ => return Err(format!("`{argument}` is neither learners= nor witnesses=").into()),
                    }
                }
                self.control(target()?, Control::Reconfigure { to });
            }
            "disconnect" => {
                let (a, b) = link(first.ok_or("which link?")?)?;
                self.lose((a, b), usize::MAX);
                self.lose((b, a), usize::MAX);
                self.disconnected(a, b);
                self.disconnected(b, a);
            }
            "read" => {
                let request = self.request();
                let what = format!("{request} read");
                self.step(target()?, &what, |host| host.step(|replica, fx| replica.read(request, fx)));
            }
            "deliver" => match first {
                Some(text) => self.deliver(link(text)?, count(1)?),
                None => {
                    let waiting: Vec<_> =
                        self.busy().into_iter().map(|link| (link, self.links[&link].len())).collect();
                    for (link, count) in waiting {
                        self.deliver(link, count);
                    }
                }
            },
            "drop" => {
                let links =
                    first.map_or_else(|| Ok(self.busy()), |text| link(text).map(|link| vec![link]))?;
                for link in links {
                    self.lose(link, count(1)?);
                }
            }
            "duplicate" | "postpone" => {
                let queue = self.links.entry(link(first.ok_or("which link?")?)?).or_default();
                let message = if name == "duplicate" { queue.front().cloned() } else { queue.pop_front() };
                queue.push_back(message.ok_or("nothing waits there")?);
            }
            "isolate" => {
                for text in args {
                    self.isolated.insert(node(text)?);
                }
            }
            "heal" => self.isolated.clear(),
            "stabilize" => {
                while let Some(link) = self.busy().into_iter().find(|link| !self.is_stuck(*link)) {
                    self.deliver(link, 1);
                }
            }
            "hold-durable" => {
                self.holds_writes.insert(target()?);
            }
            "durable" => {
                for _ in 0..count(1)? {
                    if !self.complete_write(target()?) {
                        break;
                    }
                }
                self.complete(target()?);
            }
            "resume-durable" => {
                self.holds_writes.remove(&target()?);
                self.complete(target()?);
            }
            "hold-service" => {
                self.holds_work.insert(target()?);
            }
            "resume-service" => {
                self.holds_work.remove(&target()?);
                self.complete(target()?);
            }
            "flush" => self.step(target()?, "flushes its service", Host::flush),
            "crash" => {
                self.down.insert(target()?);
                self.break_streams(target()?);
            }
            "restart" => self.restart(target()?),
            "fail" => {
                let host = self.host(target()?);
                let Some(Write::Records(token, _)) = host.writes.front() else {
                    return Err("no write is under way".into());
                };
                let token = *token;
                let what = format!("{token} failed");
                self.step(target()?, &what, |host| host.step(|replica, fx| replica.on_failed(token, fx)));
            }
            "status" => {
                for (id, host) in &self.hosts {
                    let broken = host.replica.view().broken;
                    let broken = broken.map_or_else(String::new, |law| format!(", saw {law} broken"));
                    let down = if self.down.contains(id) { ", down" } else { "" };
                    writeln!(self.output, "{id} {}{broken}{down}", host.replica.view())?;
                }
            }
            "log" => {
                let id = target()?;
                let (start, entries) = self.hosts[&id].replica.log().ok_or("there is no log")?;
                let entries = joined(entries.into_iter());
                writeln!(self.output, "{id} behind {start}: {entries}")?;
            }
            "records" => {
                let id = target()?;
                let records = joined(self.hosts[&id].segments.iter().flatten().map(ToString::to_string));
                writeln!(self.output, "{id} holds: {records}")?;
            }
            "network" => {
                for ((from, to), queue) in &self.links {
                    for message in queue {
                        writeln!(self.output, "{from}->{to} {}", Flying(message))?;
                    }
                }
            }
            _ => {
                let (timer, what) = R::timer(name).ok_or_else(|| format!("unknown command `{name}`"))?;
                self.step(target()?, what, |host| host.fire(timer));
            }
        }
        Ok(())
    }

    fn send(&mut self, id: NodeId, sent: &Request<Op>) {
        let request = self.request();
        let command = Command { proposed_at: Time::ZERO, data: KvService::encode(sent) };
        let what = format!("{request} {}", sent.op);
        self.step(id, &what, |host| host.step(|replica, fx| replica.propose(request, command, fx)));
    }

    fn control(&mut self, id: NodeId, control: Control) {
        let request = self.request();
        let what = format!("{request} {control}");
        self.step(id, &what, |host| host.step(|replica, fx| replica.control(request, control, fx)));
    }
}

impl<R: Scripted> goldenscript::Runner for Script<R> {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &Self::Command, _context: &Context) -> Result<String, Box<dyn Error>> {
        let mut options = BTreeMap::new();
        let mut texts = Vec::new();
        for argument in &command.args {
            match argument {
                Argument::KeyValue(key, value) if command.name == "cluster" => {
                    options.insert(key.as_str(), value.as_str());
                }
                // A proposal such as `x=1` is data.
                Argument::KeyValue(key, value) => texts.push(format!("{key}={value}")),
                Argument::Positional(value) => texts.push(value.clone()),
                other => texts.push(other.to_string()),
            }
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        match command.name.as_str() {
            "cluster" => self.start_cluster(options)?,
            name => self.run_command(name, &texts)?,
        }
        Ok(std::mem::take(&mut self.output))
    }
}

/// Every script of a protocol's folder; a failure names its file.
fn scripts<R: Scripted>(protocol: &str) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts").join(protocol);
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder exists")
        .map(|file| file.expect("readable").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are scripts");
    for path in paths {
        println!("{}", path.display());
        goldenscript::run(&mut Script::<R>::new(), &path).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// What a script shows with a bug planted; an error where it cannot go on.
fn planted<R: Scripted>(text: &str, bug: &str) -> Result<String, String> {
    let with_bug = text.replacen("\ncluster ", &format!("\ncluster bug={bug} "), 1);
    assert_ne!(with_bug, text, "a script begins with its cluster");
    let shown = goldenscript::generate(&mut Script::<R>::new(), &with_bug);
    let shown = shown.map_err(|error| error.to_string())?;
    Ok(shown.replacen(&format!("bug={bug} "), "", 1))
}

/// What `courses.tsv` names of a protocol's scripts: each comes out otherwise with what is planted against it.
fn turn_red<R: Scripted>() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts");
    let table = std::fs::read_to_string(folder.join("courses.tsv")).expect("the table can be read");
    let rows = table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    let mut seen = 0;
    for row in rows {
        let [_, case, protocol, script, bug] = row[..] else { panic!("{row:?} has five fields") };
        if protocol != R::NAME {
            continue;
        }
        let text = std::fs::read_to_string(folder.join(protocol).join(script));
        let text = text.unwrap_or_else(|error| panic!("{case}: {script}: {error}"));
        seen += 1;
        if bug != "-" {
            assert_ne!(planted::<R>(&text, bug).as_ref(), Ok(&text), "{case}: {script} does not show {bug}");
        }
        // Without it the script comes out as it stands: it is the bug that shows.
        let plain = goldenscript::generate(&mut Script::<R>::new(), &text).expect("the script is sound");
        assert_eq!(plain, text, "{case}: {script}");
    }
    assert!(seen > 0, "{} has rows", R::NAME);
}
