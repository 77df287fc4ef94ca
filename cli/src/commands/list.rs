//! `seedbed list`: the names that scenarios and options can use.

use clap::ValueEnum;
use testbed::checker::models::AnyModel;
use testbed::plan::{Event, KINDS};
use testbed::registry::{self, Named};
use testbed::report::SITUATIONS;
use testbed::{Bug, scenario};

use crate::args::{ListArgs, Topic};
use crate::exit::Exit;
use crate::term::{Out, Style, Term};

/// Prints one list, or all of them under headings.
pub(crate) fn run(args: &ListArgs, term: &Term) -> Exit {
    let text = match args.what {
        Some(topic) => lines(&entries(topic), ""),
        None => {
            let section = |topic: &Topic| {
                let name = topic.to_possible_value().expect("every topic can be asked for");
                let heading = term.paint(Out::Stdout, Style::Bold, name.get_name().to_owned());
                format!("{heading}\n{}", lines(&entries(*topic), "  "))
            };
            Topic::value_variants().iter().map(section).collect::<Vec<_>>().join("\n")
        }
    };
    term.write(Out::Stdout, &text);
    Exit::Holds
}

fn entries(topic: Topic) -> Vec<(String, String)> {
    let named = |table: &[Named]| table.iter().map(|n| (n.name.to_owned(), n.about.to_owned())).collect();
    match topic {
        Topic::Protocols => named(&registry::protocols()),
        Topic::Engines => named(registry::ENGINES),
        Topic::Faults => KINDS.iter().map(|kind| (kind.name.to_owned(), kind.about.to_owned())).collect(),
        Topic::Conditions => {
            Event::ALL.iter().map(|(_, name, about)| ((*name).to_owned(), (*about).to_owned())).collect()
        }
        Topic::Situations => SITUATIONS.iter().map(|s| (s.name.to_owned(), s.about.to_owned())).collect(),
        Topic::Workloads => named(registry::WORKLOADS),
        Topic::Checks => named(registry::HISTORY_CHECKS),
        Topic::Models => {
            AnyModel::all().map(|model| (model.name().to_owned(), model.about().to_owned())).collect()
        }
        Topic::Monitors => named(registry::MONITORS),
        Topic::Profiles => scenario::profiles()
            .into_iter()
            .map(|(kind, name, about)| (format!("{kind} {name}"), about))
            .collect(),
        Topic::Bugs => {
            Bug::ALL.iter().map(|(_, name, about)| ((*name).to_owned(), (*about).to_owned())).collect()
        }
    }
}

fn lines(entries: &[(String, String)], indent: &str) -> String {
    let width = entries.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    entries.iter().map(|(name, about)| format!("{indent}{name:<width$}  {about}\n")).collect()
}
