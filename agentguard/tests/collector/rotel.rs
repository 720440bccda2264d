//! Rotel, a collector of OpenTelemetry, started for a test.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A collector that runs until this is dropped.
pub(crate) struct Rotel {
    /// Where it takes OTLP over gRPC.
    pub(crate) grpc: String,
    /// Where it takes OTLP over HTTP.
    pub(crate) http: String,
    child: Child,
}

impl Rotel {
    /// Starts it; what it takes it sends on to that address, over gRPC.
    pub(crate) fn start(onto: &str) -> Self {
        let (grpc, http) = (free(), free());
        let program = program();
        let child = Command::new(&program)
            .args(["start", "--otlp-grpc-endpoint", &grpc, "--otlp-http-endpoint", &http])
            .args(["--exporter", "otlp", "--otlp-exporter-protocol", "grpc"])
            .args(["--otlp-exporter-endpoint", &format!("http://{onto}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let rotel = Self { grpc, http, child };
        let begun = Instant::now();
        for address in [&rotel.grpc, &rotel.http] {
            while TcpStream::connect(address).is_err() {
                assert!(begun.elapsed() < PATIENCE, "Rotel does not listen on {address}");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        rotel
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of loopback that was free a moment ago.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Where `cargo xtask setup` puts it.
fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let libraries = target.join("tools/rotel/lib");
    let found = std::fs::read_dir(&libraries).ok().and_then(|mut entries| {
        entries.find_map(|entry| {
            let program = entry.ok()?.path().join("site-packages/rotel/rotel-agent");
            program.is_file().then_some(program)
        })
    });
    found.unwrap_or_else(|| {
        panic!("there is no Rotel in {}: run `cargo xtask setup`", libraries.display())
    })
}
