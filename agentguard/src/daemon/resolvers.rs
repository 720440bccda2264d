//! The host's own resolvers: what `/etc/resolv.conf` says, for policies that let their
//! sessions ask those.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::SystemTime;

use agentguard_common::net::Address;

use crate::error::{Error, Result};
use crate::kernel::Tables;
use crate::policy::address_of;

/// Where resolver libraries read it.
pub(super) const PATH: &str = "/etc/resolv.conf";
/// How many servers resolver libraries use (`MAXNS` of `resolv.h`).
const MOST: usize = 3;

/// Keeps the kernel's list in step with the file.
#[derive(Default)]
pub(super) struct Resolvers {
    read: Option<(SystemTime, u64)>,
}

impl Resolvers {
    /// Reads the file again where it has changed. One that is gone or cannot be read for
    /// a moment leaves the list as it was.
    ///
    /// # Errors
    ///
    /// Where the kernel's table cannot be written.
    pub(super) fn refresh(&mut self, tables: &Tables) -> Result<()> {
        let Ok(metadata) = std::fs::metadata(PATH) else { return Ok(()) };
        let stamp = (metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len());
        if self.read == Some(stamp) {
            return Ok(());
        }
        match system() {
            Ok(addresses) => {
                tables.set_system_resolvers(&addresses)?;
                self.read = Some(stamp);
            }
            Err(error) => tracing::warn!(%error, "the resolvers stay what they were"),
        }
        Ok(())
    }
}

/// The servers that the file names.
///
/// # Errors
///
/// [`Error::Io`] where it cannot be read, [`Error::System`] where it is not in order.
fn system() -> Result<BTreeSet<Address>> {
    let text = std::fs::read(PATH).map_err(Error::io("read", PATH))?;
    parse(&text)
}

fn parse(text: &[u8]) -> Result<BTreeSet<Address>> {
    let config = resolv_conf::Config::parse(text)
        .map_err(|error| Error::system("read /etc/resolv.conf")(std::io::Error::other(error)))?;
    let servers = config.nameservers.iter().take(MOST).map(|server| {
        // A zone says by which interface; rules hold on every interface.
        let ip: IpAddr = server.into();
        address_of(ip).reached()
    });
    let servers: BTreeSet<Address> = servers.collect();
    // Without any, this host is asked (resolv.conf(5)).
    if servers.is_empty() { Ok(BTreeSet::from([Address::v4(0x7f00_0001)])) } else { Ok(servers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_as_resolver_libraries_do() {
        let text = b"# by hand\nsearch a.test b.test\nnameserver 10.0.0.53\nnameserver fd77::53\noptions edns0 trust-ad\nnameserver 10.0.0.54\nnameserver 10.0.0.55\n";
        let expected = [
            Address::v4(0x0a00_0035),
            Address::v4(0x0a00_0036),
            Address { high: 0xfd77_0000_0000_0000, low: 0x53 },
        ];
        assert_eq!(parse(text).unwrap(), BTreeSet::from(expected));
        assert_eq!(parse(b"").unwrap(), BTreeSet::from([Address::v4(0x7f00_0001)]));
        let zone = parse(b"nameserver fe80::1%eth0\n").unwrap();
        assert_eq!(zone, BTreeSet::from([Address { high: 0xfe80_0000_0000_0000, low: 1 }]));
    }
}
