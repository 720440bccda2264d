//! The person's terminal while a shell in the VM has it: raw, and put back at the end.

use std::io::{IsTerminal, stdin};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// Keeps the terminal raw until dropped.
pub(super) struct Raw(Option<Termios>);

impl Raw {
    /// Makes the terminal raw, if standard input is one.
    pub(super) fn enter() -> Result<Self> {
        if !stdin().is_terminal() {
            return Ok(Self(None));
        }
        let saved = tcgetattr(stdin()).context("read the terminal's settings")?;
        let mut raw = saved.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin(), SetArg::TCSANOW, &raw).context("make the terminal raw")?;
        Ok(Self(Some(saved)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(saved) = &self.0 {
            // Nothing can be done about a terminal that is gone.
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, saved);
        }
    }
}

/// Rows and columns of the terminal; the classic size where there is none.
pub(super) fn size() -> (u16, u16) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is valid for writing for the length of the call.
    let rc = unsafe { libc::ioctl(stdin().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    if rc == 0 && size.ws_row > 0 { (size.ws_row, size.ws_col) } else { (24, 80) }
}
