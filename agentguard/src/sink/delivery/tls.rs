//! TLS as a client: whom to trust, and who we are. One configuration for HTTP and for
//! syslog.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::config::TlsConfig;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates or a key cannot be used.
    #[error("cannot use {path} for TLS: {why}\n  = it has to be a PEM file that the daemon may read", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The system's certificates, or all of them together, will not do.
    #[error("cannot set up TLS: {0}")]
    Setup(String),
}

fn setup(error: impl std::fmt::Display) -> TlsError {
    TlsError::Setup(error.to_string())
}

/// The client's side of TLS. Without `ca`, whom the host trusts is trusted; with it,
/// only who is certified by it.
///
/// # Errors
///
/// Where a file cannot be used.
pub(crate) fn client(config: &TlsConfig) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(config.ca.as_deref(), &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(setup)?;
    let builder = match verifier {
        Some(verifier) => builder.dangerous().with_custom_certificate_verifier(verifier),
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    let Some(identity) = &config.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(&identity.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(unusable(&identity.key))?;
    builder.with_client_auth_cert(chain, key).map_err(unusable(&identity.certificate))
}

/// `None` where nobody is trusted: a host without certificates can still speak to
/// receivers without TLS.
fn verifier(
    ca: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, TlsError> {
    let provider = Arc::clone(provider);
    let Some(path) = ca else {
        return match Verifier::new(provider) {
            Ok(verifier) => Ok(Some(Arc::new(verifier))),
            Err(error) => {
                tracing::warn!(%error, "this host trusts no certificates: https fails without tls.ca (install ca-certificates)");
                Ok(None)
            }
        };
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(unusable(path))?;
    }
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    built.map(|verifier| Some(verifier as Arc<dyn ServerCertVerifier>)).map_err(unusable(path))
}

/// The certificates in a file, of which there is at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(unusable(path))?;
    let all = read.collect::<Result<Vec<_>, _>>().map_err(unusable(path))?;
    if all.is_empty() {
        return Err(unusable(path)("there is no certificate in it"));
    }
    Ok(all)
}

fn unusable<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> TlsError {
    move |error| TlsError::File { path: path.to_owned(), why: error.to_string() }
}
