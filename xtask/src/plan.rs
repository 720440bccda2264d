//! What the host tells the VM's PID 1 to do; travels as `/plan.json` in the initramfs.

use serde::{Deserialize, Serialize};

/// The whole of one boot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Kernel modules in the initramfs, in the order to load them.
    pub(crate) modules: Vec<String>,
    /// Host folder whose `lib/modules/<version>` belongs to this kernel.
    pub(crate) module_base: Option<String>,
    /// Host paths that must stay visible where the VM has a fresh `/tmp` or `/run`.
    pub(crate) keep: Vec<String>,
    /// Mount the second file system, writable, at `/share`.
    pub(crate) share: bool,
    /// Rows and columns of the person's terminal, when the command gets one.
    pub(crate) terminal: Option<(u16, u16)>,
    /// The command and its arguments.
    pub(crate) command: Vec<String>,
    /// The command's whole environment.
    pub(crate) env: Vec<(String, String)>,
    /// Where the command starts, if that exists in the VM; `/` otherwise.
    pub(crate) cwd: String,
}
