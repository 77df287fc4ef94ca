//! Something happens to a node, and the others see what comes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use contract::{NodeId, Rejection, Replica, RequestId, Role};

use super::bounds::Request;
use super::laws::{Law, Past, broken, journals};
use super::model::System;
use super::network::print;
use super::node::{Input, Output, Sent};
use super::state::{Outcome, Site, State};
use crate::panics;

impl<R: Replica> System<R> {
    /// Lets something happen to a node, and the others know.
    pub(super) fn happens(&self, next: &mut State<R>, me: NodeId, input: &Input<R>) -> Arc<Outcome<R>> {
        let before = Arc::clone(&next.sites[me.slot()]);
        let outcome = self.outcome_of(me, &before, input);
        next.sites[me.slot()] = Arc::clone(&outcome.site);
        match &outcome.out {
            Ok(out) => {
                self.spread(next, me, &before, out);
                if outcome.wrote && next.broken.is_none() {
                    next.broken = journals(me, &next.sites);
                }
            }
            Err(broken) => next.broken = Some(broken.clone()),
        }
        outcome
    }

    /// What comes of something that happens to a node.
    pub(super) fn outcome_of(&self, me: NodeId, site: &Arc<Site<R>>, input: &Input<R>) -> Arc<Outcome<R>> {
        let key = (site.print, print(&(me, input)));
        self.memo.outcome(key, || self.outcome(site, me, input))
    }

    /// What comes of it, computed. An assertion that fails is a finding.
    fn outcome(&self, site: &Arc<Site<R>>, me: NodeId, input: &Input<R>) -> Outcome<R> {
        let done = panics::catch(|| {
            let mut out = Output::default();
            let node = site.node.clone().take(input, me, &self.hosting, &mut out);
            (Site::new(node), out)
        });
        match done {
            Ok((after, out)) => {
                let wrote = !after.node.records().eq(site.node.records());
                let writes = site.node.is_writing() || after.node.is_writing();
                Outcome {
                    idle: after.print == site.print && out.sent.is_empty() && out.answers.is_empty(),
                    is_quiet: !wrote && !writes && out == Output::default(),
                    wrote,
                    site: self.memo.site(after),
                    out: Ok(out),
                }
            }
            Err(caught) => {
                let message = format!("{me} failed at {}: {}", caught.place, caught.message);
                let out = Err(broken(Law::Asserts, message));
                Outcome { idle: false, is_quiet: false, wrote: false, site: Arc::clone(site), out }
            }
        }
    }

    /// What came of something for everyone else.
    pub(super) fn spread(&self, next: &mut State<R>, me: NodeId, before: &Site<R>, out: &Output<R>) {
        if Past::concerns(out) {
            let site = &next.sites[me.slot()];
            next.broken = next.past.change(|past| past.look(me, site, out));
        }
        self.note(next, me, before, out);
        for (to, sent) in &out.sent {
            match sent {
                Sent::Message(message) => next.network.send(R::CHANNEL, me, *to, message.clone()),
                Sent::Close => next.network.close(me, *to),
            }
        }
        if out.answers.is_empty() {
            return;
        }
        next.clients.change(|clients| {
            for (request, result) in &out.answers {
                match result {
                    Ok(ret) => clients.returned(*request, ret.clone()),
                    // It may still take effect, by another leader's doing.
                    Err(Rejection::Lost) => {}
                    Err(_) => clients.refused(*request),
                }
            }
        });
        if next.broken.is_none() && out.answers.iter().any(|(_, result)| result.is_ok()) {
            let judged = next.clients.value.judge(&self.hosting.requests);
            next.broken = judged.map(|message| broken(Law::Linearizable, message));
        }
    }

    /// Notes the situations that came about.
    fn note(&self, next: &State<R>, me: NodeId, before: &Site<R>, out: &Output<R>) {
        let leads = |site: &Arc<Site<R>>| site.view.role == Role::Leader;
        let answered = |read: bool| {
            let is_it = |id: &RequestId| match self.hosting.request(*id) {
                Request::Client(op) => op.is_read() == read,
                Request::Operator(_) => false,
            };
            out.answers.iter().any(|(request, result)| result.is_ok() && is_it(request))
        };
        let after = &next.sites[me.slot()];
        let came = [
            leads(after),
            leads(after) && next.sites.iter().filter(|site| leads(site)).count() > 1,
            !out.committed.is_empty(),
            answered(false),
            answered(true),
            out.lost_writes,
            after.view.last < before.view.last && !out.lost_writes,
            out.installed.is_some(),
            next.past.value.reigns() > 1,
        ];
        let bits = (0..).zip(came).fold(0, |bits, (place, came)| bits | (u32::from(came) << place));
        if bits & !self.reached.load(Ordering::Relaxed) != 0 {
            self.reached.fetch_or(bits, Ordering::Relaxed);
        }
    }
}
