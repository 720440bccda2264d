//! `security_file_ioctl_compat`, called by the system call `ioctl` of 32-bit programs (6.9
//! to 7.x, and long-term kernels that took it over; before that, such calls came to
//! `file_ioctl`).

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::file_ioctl::decide;

#[lsm(hook = "file_ioctl_compat")]
fn file_ioctl_compat(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's first argument is the `struct file`.
    unsafe { decide(ctx.arg(0), ctx.arg(1)) }
}
