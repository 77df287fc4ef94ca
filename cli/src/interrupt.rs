//! Ctrl-C: work that is worth keeping is brought to an end first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Exit;

/// Ctrl-C sets the flag; a second one ends the process at once.
pub(crate) fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, pressed) = (Arc::clone(&stop), AtomicBool::new(false));
    let set = ctrlc::set_handler(move || {
        if pressed.swap(true, Ordering::Relaxed) {
            std::process::exit(Exit::Interrupted as i32);
        }
        flag.store(true, Ordering::Relaxed);
    });
    set.expect("nobody else handles interrupts");
    stop
}
