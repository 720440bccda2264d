//! How this host looks names up, and what of that a session cannot use.
//!
//! The kernel reads questions to resolvers. What is asked of a service on this host over a unix
//! socket it cannot read, so those sockets are denied, and programs have to find a way without.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

/// How long a resolver may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many servers resolver libraries use (`MAXNS` of `resolv.h`).
const MOST: usize = 3;
/// Where resolver libraries read which these are.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where the C library reads whom to ask.
const NSSWITCH: &str = "/etc/nsswitch.conf";
/// The sockets of name service caches.
const NSCD: [&str; 2] = ["/run/nscd/socket", "/var/run/nscd/socket"];

/// How names are looked up here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Names {
    /// The servers that the host's programs ask.
    pub resolvers: Vec<Resolver>,
    /// What else there is, and what it means for sessions.
    pub notes: Vec<Note>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resolver {
    /// Its address, as the host has it written.
    pub address: String,
    /// How many milliseconds it took to answer a trial question, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<u64>,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Something about how names are looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Whether names can be looked up in sessions all the same.
    pub works: bool,
    /// What it is.
    pub what: String,
    /// What to change, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// Looks at the host, and asks each of its resolvers a question about nobody: where the root's
/// own servers are, which every one of them knows.
#[must_use]
pub fn names() -> Names {
    let read = |path| std::fs::read(path).unwrap_or_default();
    let found = servers(&read(RESOLV_CONF));
    let exists = |path: &str| Path::new(path).exists();
    let nsswitch = String::from_utf8_lossy(&read(NSSWITCH)).into_owned();
    let notes = notes(&found, &nsswitch, &exists);
    Names { resolvers: found.iter().take(MOST).map(|address| tried(address)).collect(), notes }
}

/// The servers that the file names; this host where it names none.
fn servers(text: &[u8]) -> Vec<String> {
    let config = resolv_conf::Config::parse(text).unwrap_or_default();
    let all: Vec<String> = config.nameservers.iter().map(ToString::to_string).collect();
    if all.is_empty() { vec!["127.0.0.1".into()] } else { all }
}

fn tried(address: &str) -> Resolver {
    let asked = match address.parse::<IpAddr>() {
        Ok(ip) => ask(ip).map_err(|error| error.to_string()),
        // One with a zone, of which only the resolver library knows what it means.
        Err(_) => Err("not tried: it has a zone".to_owned()),
    };
    let (answered, failed) = match asked {
        Ok(time) => (Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)), None),
        Err(error) => (None, Some(error)),
    };
    Resolver { address: address.to_owned(), answered, failed }
}

/// Asks a server for the root's servers, and waits for any answer to that.
fn ask(ip: IpAddr) -> std::io::Result<Duration> {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(SocketAddr::new(ip, 53))?;
    let id = std::process::id().to_be_bytes();
    // A header with one question, recursion desired; the root, NS, IN.
    let question = [id[2], id[3], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    let start = Instant::now();
    socket.send(&question)?;
    let mut answer = [0; 512];
    loop {
        let read = socket.recv(&mut answer)?;
        if read >= 12 && answer[..2] == question[..2] && answer[2] & 0x80 != 0 {
            return Ok(start.elapsed());
        }
    }
}

/// What there is to say, from what the files say.
fn notes(resolvers: &[String], nsswitch: &str, exists: &dyn Fn(&str) -> bool) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |works: bool, what: String, mend: Option<&str>| {
        notes.push(Note { works, what, mend: mend.map(str::to_owned) });
    };
    if resolvers.len() > MOST {
        let what =
            format!("{RESOLV_CONF} names {} servers; programs ask the first 3", resolvers.len());
        note(true, what, None);
    }
    if resolvers.iter().any(|address| address == "127.0.0.53" || address == "127.0.0.54") {
        let what = "systemd-resolved is asked by its stub on loopback, which is one of the \
                    host's resolvers: sessions ask it as they would any other";
        note(true, what.into(), None);
    }
    let services = services(nsswitch);
    let has = |wanted: &str| services.iter().any(|service| service == wanted);
    let asks = has("dns");
    if has("resolve") {
        let what = "nss-resolve (`resolve` in the line hosts: of /etc/nsswitch.conf) asks \
                    systemd-resolved over a unix socket, which sessions may not";
        match asks {
            true => note(
                true,
                format!("{what}; programs go on to `dns`"),
                Some("take `resolve` out of that line, and each look-up makes one denial less"),
            ),
            false => note(
                false,
                format!(
                    "{what}, and there is no `dns` in that line: no name resolves in a session"
                ),
                Some("write `dns` behind `resolve [!UNAVAIL=return]`"),
            ),
        }
    } else if !asks && !services.is_empty() {
        let what = "the line hosts: of /etc/nsswitch.conf has no `dns`: programs that use the C \
                    library ask no resolver";
        note(false, what.into(), Some("write `dns` at its end"));
    }
    for service in services.iter().filter(|service| service.starts_with("mdns")) {
        let what = format!(
            "nss-mdns (`{service}`) asks avahi over a unix socket, and by multicast: sessions may \
             do neither, and names below .local do not resolve"
        );
        note(true, what, None);
    }
    if NSCD.iter().any(|path| exists(path)) {
        let what = "a name service cache (nscd) is here: its socket is denied, as it would \
                    answer for names that no rule allows; programs go on without it";
        let mend = "stop it, or write `enable-cache hosts no` into /etc/nscd.conf, and each \
                    program makes one denial less";
        note(true, what.into(), Some(mend));
    }
    notes
}

/// The services of the line `hosts:`, without what is to be done after each.
fn services(nsswitch: &str) -> Vec<String> {
    let lines = nsswitch.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let Some(hosts) = lines.filter_map(|line| line.strip_prefix("hosts:")).next_back() else {
        return Vec::new();
    };
    let mut text = String::new();
    let mut within = false;
    for sign in hosts.chars() {
        within = (within || sign == '[') && sign != ']';
        text.push(if within || sign == ']' { ' ' } else { sign });
    }
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(resolvers: &[&str], nsswitch: &str, there: &[&str]) -> Vec<(bool, String)> {
        let resolvers: Vec<String> = resolvers.iter().map(|one| (*one).to_owned()).collect();
        let notes = notes(&resolvers, nsswitch, &|path| there.contains(&path));
        notes.into_iter().map(|note| (note.works, note.what)).collect()
    }

    #[test]
    fn the_line_is_read_without_its_actions() {
        let text = "passwd: files\nhosts:  files mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] dns # x\n";
        assert_eq!(services(text), ["files", "mdns4_minimal", "resolve", "dns"]);
        assert!(services("").is_empty());
    }

    #[test]
    fn a_plain_host_has_nothing_to_say() {
        assert_eq!(found(&["10.0.0.53"], "hosts: files dns\n", &[]), []);
        // The C library's own default has dns in it.
        assert_eq!(found(&["10.0.0.53"], "", &[]), []);
    }

    #[test]
    fn what_is_in_the_way_is_said() {
        let works = |resolvers: &[&str], nsswitch: &str, there: &[&str], word: &str| {
            let found = found(resolvers, nsswitch, there);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].1.contains(word), "{found:?}");
            found[0].0
        };
        let dns = "hosts: files dns";
        assert!(works(&["127.0.0.53"], dns, &[], "stub"));
        assert!(works(&["1.1.1.1"], "hosts: files resolve [!UNAVAIL=return] dns", &[], "go on"));
        assert!(!works(&["1.1.1.1"], "hosts: files resolve", &[], "no `dns`"));
        assert!(!works(&["1.1.1.1"], "hosts: files", &[], "no `dns`"));
        assert!(works(&["1.1.1.1"], dns, &["/run/nscd/socket"], "nscd"));
        assert!(works(&["1.1.1.1"], "hosts: files mdns4 dns", &[], "avahi"));
        assert!(works(&["1", "2", "3", "4"], dns, &[], "first 3"));
    }

    #[test]
    fn a_server_that_does_not_answer_is_no_error() {
        let tried = tried("fe80::1%eth0");
        assert_eq!((tried.answered, tried.failed.is_some()), (None, true));
        assert_eq!(servers(b"nameserver 10.0.0.1\nnameserver ::1\n"), ["10.0.0.1", "::1"]);
        assert_eq!(servers(b""), ["127.0.0.1"]);
    }
}
