//! The moving line that shows a long step is under way; plain lines where the output
//! is not a terminal.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::ProgressBar;

/// Starts a spinner with a message.
pub(crate) fn spinner(message: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if stderr().is_terminal() {
        bar.enable_steady_tick(Duration::from_millis(120));
    } else {
        eprintln!("{message}");
    }
    bar.set_message(message.to_owned());
    bar
}
