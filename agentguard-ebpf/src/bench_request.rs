//! What the benchmark's driver asks of its programs; both sides include this file.

use bytemuck::{Pod, Zeroable};

/// How many requests there is room for.
pub(crate) const MAX_REQUESTS: u32 = 65_536;
/// The map with the requests.
pub(crate) const REQUESTS: &str = "REQUESTS";
/// The map with the [`Cursor`].
pub(crate) const CURSOR: &str = "CURSOR";

/// The map with the label of the socket that packets are of.
pub(crate) const LABEL: &str = "LABEL";
/// The map with the question that answers are for.
pub(crate) const WAITING: &str = "WAITING";

/// What a hook finds in its arguments.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Request {
    /// The address, as `connect` gets it.
    pub(crate) sockaddr: [u8; 32],
    /// Its length.
    pub(crate) len: u32,
    /// The socket's address family.
    pub(crate) family: u16,
    /// The socket's protocol.
    pub(crate) protocol: u16,
}

/// Which request is next.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Cursor {
    /// The number of the next one, before the mask.
    pub(crate) next: u32,
    /// One less than the number of requests, which is a power of two.
    pub(crate) mask: u32,
}
