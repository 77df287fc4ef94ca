//! A panic that reaches the top is a bug of Seedbed's own, and is said so.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::{Mutex, PoisonError};

use crate::term::{Out, Style, Term};

/// Where the last panic was. One that was caught on the way, because it is a finding about the code
/// under test, leaves its place here too, and prints nothing.
static LAST: Mutex<Option<String>> = Mutex::new(None);

/// A panic that reached the top.
pub(crate) struct OwnBug {
    message: String,
    place: String,
}

/// Does `work`, with panics turned into values.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, OwnBug> {
    set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }));
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let place = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
        OwnBug {
            message: text.unwrap_or_else(|| "no message".to_owned()),
            place: place.unwrap_or_else(|| "an unknown place".to_owned()),
        }
    })
}

impl OwnBug {
    /// Tells the user.
    pub(crate) fn show(&self, term: &Term) {
        let arguments: Vec<_> = std::env::args().collect();
        let text = format!(
            "{}: {}\n  at {} in Seedbed {}\n  command: {}\nThis is not your fault. Please report it with the lines \
             above and the scenario file.\n",
            term.paint(Out::Stderr, Style::Red, "bug in Seedbed"),
            self.message,
            self.place,
            env!("CARGO_PKG_VERSION"),
            arguments.join(" "),
        );
        term.write(Out::Stderr, &text);
    }
}
