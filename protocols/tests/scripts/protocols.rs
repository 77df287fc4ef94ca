//! The protocols that have scripts: their timers' names, and what their logs show.

use std::fmt::Display;

use contract::Replica;
use seedbed_protocols::{
    Abd, MultiPaxos, Paxos, Raft, Solo, Vr, Zab, abd, multi_paxos, paxos, raft, solo, vr, zab,
};

use crate::{Shown, scripts, turn_red};

/// What scripts name of a protocol.
pub(crate) trait Scripted: Replica<Record: Display> {
    /// Options that scripts begin with, where those are not the protocol's defaults.
    const OPTIONS: &'static [(&'static str, &'static str)] = &[];
    /// The timer that a command fires, and how a script's output tells of it.
    fn timer(command: &str) -> Option<(Self::Timer, &'static str)>;
    /// The log, if it has one to show: where it begins and what it holds.
    fn log(&self) -> Option<(String, Vec<String>)> {
        None
    }
}

impl Scripted for Raft {
    /// Elections as in the paper: where pre-votes matter a script has them.
    const OPTIONS: &'static [(&'static str, &'static str)] = &[("pre-vote", "false")];

    fn timer(command: &str) -> Option<(raft::Timer, &'static str)> {
        match command {
            "campaign" | "check-quorum" => Some((raft::Timer::Election, "election timeout")),
            "lapse" => Some((raft::Timer::Election, "is loyal no more")),
            "heartbeat" => Some((raft::Timer::Heartbeat, "heartbeat timer")),
            "lease-0" => Some((raft::Timer::Lease(0), "lease timer 0")),
            "lease-1" => Some((raft::Timer::Lease(1), "lease timer 1")),
            "handover" => Some((raft::Timer::Handover, "handover timer")),
            _ => None,
        }
    }

    fn log(&self) -> Option<(String, Vec<String>)> {
        let (start, entries) = self.entries();
        Some((start.to_string(), entries.map(|entry| Shown(entry).to_string()).collect()))
    }
}

#[test]
fn raft() {
    scripts::<Raft>("raft");
}

#[test]
fn raft_scripts_turn_red() {
    turn_red::<Raft>();
}

impl Scripted for MultiPaxos {
    fn timer(command: &str) -> Option<(multi_paxos::Timer, &'static str)> {
        use multi_paxos::{Half, Timer};
        match command {
            "campaign" | "check-quorum" => Some((Timer::Election, "election timeout")),
            "doubt" => Some((Timer::Trust, "trust is over")),
            "heartbeat" => Some((Timer::Heartbeat, "heartbeat timer")),
            "ask-again" => Some((Timer::Ask, "no answer")),
            "lease-end-a" => Some((Timer::Lease(Half::A), "lease a ends")),
            "lease-end-b" => Some((Timer::Lease(Half::B), "lease b ends")),
            _ => None,
        }
    }

    fn log(&self) -> Option<(String, Vec<String>)> {
        let (start, entries) = self.entries();
        Some((start.to_string(), entries.map(|entry| Shown(entry).to_string()).collect()))
    }
}

#[test]
fn multi_paxos() {
    scripts::<MultiPaxos>("multi-paxos");
}

impl Scripted for Vr {
    fn timer(command: &str) -> Option<(vr::Timer, &'static str)> {
        match command {
            "view-change" => Some((vr::Timer::ViewChange, "view change timeout")),
            "heartbeat" => Some((vr::Timer::Heartbeat, "heartbeat timer")),
            _ => None,
        }
    }

    fn log(&self) -> Option<(String, Vec<String>)> {
        let (start, entries) = self.entries();
        Some((start.to_string(), entries.map(|entry| Shown(entry).to_string()).collect()))
    }
}

#[test]
fn vr() {
    scripts::<Vr>("vr");
}

impl Scripted for Zab {
    fn timer(command: &str) -> Option<(zab::Timer, &'static str)> {
        match command {
            "notify" => Some((zab::Timer::Notify, "notification timer")),
            "finalize" => Some((zab::Timer::Finalize, "finalize timer")),
            "tick" => Some((zab::Timer::Tick, "tick")),
            "limit" => Some((zab::Timer::Limit, "limit")),
            _ => None,
        }
    }

    fn log(&self) -> Option<(String, Vec<String>)> {
        let (start, entries) = self.entries();
        Some((start.to_string(), entries.map(|entry| Shown(entry).to_string()).collect()))
    }
}

#[test]
fn zab() {
    scripts::<Zab>("zab");
}

#[test]
fn zab_scripts_turn_red() {
    turn_red::<Zab>();
}

impl Scripted for Solo {
    fn timer(_: &str) -> Option<(solo::Timer, &'static str)> {
        None
    }
}

#[test]
fn solo() {
    scripts::<Solo>("solo");
}

impl Scripted for Abd {
    fn timer(command: &str) -> Option<(abd::Timer, &'static str)> {
        (command == "resend").then_some((abd::Timer::Resend, "resend timer"))
    }
}

#[test]
fn abd() {
    scripts::<Abd>("abd");
}

impl Scripted for Paxos {
    fn timer(command: &str) -> Option<(paxos::Timer, &'static str)> {
        (command == "retry").then_some((paxos::Timer::Retry, "retry timer"))
    }
}

#[test]
fn paxos() {
    scripts::<Paxos>("paxos");
}
