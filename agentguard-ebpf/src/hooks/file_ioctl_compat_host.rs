//! `security_file_ioctl_compat` again, see the other one.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::file_ioctl_host::decide;

#[lsm(hook = "file_ioctl_compat")]
fn file_ioctl_compat_host(ctx: LsmContext) -> i32 {
    decide(&ctx)
}
