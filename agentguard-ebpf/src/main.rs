//! agentguard's kernel side. Hooks gather facts, call the evaluator in
//! `agentguard-common`, emit a record and return a constant. What is decided is
//! never written here.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![expect(
    clippy::cast_possible_truncation,
    reason = "helpers pack two numbers into one, and sizes are known to be small"
)]

mod atomic;
mod budget;
mod emit;
mod hold;
mod hooks;
mod kernel;
mod maps;
mod names;
mod own;
mod packet;
mod procfs;
mod recent;
mod scratch;
mod session;
mod socket;
mod taint;
mod trail;

/// Unreachable: nothing here panics, and the verifier would refuse a program
/// that could.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends `bpf_d_path`, `bpf_probe_read_*` and task storage only to
/// programs that say this.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
