//! A panic inside a run is a finding about the code under test: an assert that states a broken law. It
//! is caught with its place, and prints nothing. Panics elsewhere go their usual way.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught.
pub(crate) struct Caught {
    pub(crate) message: String,
    /// File and line.
    pub(crate) place: String,
}

impl Caught {
    /// What all failures of one assertion share: its file and its words. Its line moves with every edit above it, and
    /// the numbers that it tells are of one run.
    pub(crate) fn signature(&self) -> String {
        let file = self.place.rsplit_once(':').map_or(self.place.as_str(), |(file, _)| file);
        let mut words = String::new();
        for c in self.message.lines().next().unwrap_or_default().chars() {
            let c = if c.is_ascii_digit() { '#' } else { c };
            if c != '#' || !words.ends_with('#') {
                words.push(c);
            }
        }
        format!("assertion/{file}: {words}")
    }
}

/// Does `work`, with a panic turned into a value.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Caught> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if CATCHING.get() {
                let place = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
                PLACE.set(place);
            } else {
                usual(info);
            }
        }));
    });
    CATCHING.set(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(false);
    done.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Caught {
            message: text.unwrap_or("no message").to_owned(),
            place: PLACE.take().unwrap_or_else(|| "an unknown place".to_owned()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assertion_is_known_by_its_words() {
        let failed =
            |index: u64| catch(|| assert!(index > 90, "entry {index} is gone")).expect_err("it fails");
        let (one, other) = (failed(7), failed(89));
        assert_eq!(one.signature(), "assertion/testbed/src/panics.rs: entry # is gone");
        assert_eq!(one.signature(), other.signature(), "numbers differ");
        let elsewhere = catch(|| assert_eq!(1, 2, "one is two")).expect_err("it fails");
        assert!(
            elsewhere.signature().ends_with(": assertion `left == right` failed: one is two"),
            "{}",
            elsewhere.signature()
        );
    }
}
