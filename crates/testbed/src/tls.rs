//! Certificates, and a server that speaks TLS in front of one that does not.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::{
    io::copy,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

use crate::Scratch;

/// A certificate authority, and what it signed, as PEM files.
pub struct Authority {
    dir: Scratch,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// An authority that nobody knows yet.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn new() -> Result<Self> {
        let dir = Scratch::new("authority")?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = dir.path().display().to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let ca = params.self_signed(&key)?;
        fs::write(dir.path().join("ca.pem"), ca.pem())?;
        let issuer = Issuer::new(params, key);
        Ok(Self { dir, issuer })
    }

    /// Its own certificate: what clients trust.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A certificate for `name`, and its key.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn issue(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        self.sign(name, CertificateParams::new(vec![name.to_owned()])?)
    }

    /// The same, out of date since an hour.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn issue_expired(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        let hour = Duration::from_secs(3600);
        params.not_after = (std::time::SystemTime::now() - hour).into();
        self.sign(name, params)
    }

    fn sign(&self, name: &str, params: CertificateParams) -> Result<(PathBuf, PathBuf)> {
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        let file = |end| self.dir.path().join(format!("{name}.{end}"));
        fs::write(file("pem"), cert.pem())?;
        fs::write(file("key"), key.serialize_pem())?;
        Ok((file("pem"), file("key")))
    }
}

/// Speaks TLS on `https://localhost:…`, with this certificate, and passes on what comes to `upstream`; with
/// `clients`, only for those who show a certificate of that authority. It ends with the runtime.
///
/// # Errors
/// When the certificate cannot be used, or no port be had.
pub async fn tls_before(
    upstream: &str,
    (cert, key): (PathBuf, PathBuf),
    clients: Option<&Authority>,
) -> Result<String> {
    let config = ServerConfig::builder();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority.ca())?)?;
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
            config.with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_file(cert)?];
    let config = config.with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let upstream = upstream.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(carry(acceptor.clone(), client, upstream.clone()));
        }
    });
    Ok(format!("https://localhost:{port}"))
}

async fn carry(acceptor: TlsAcceptor, client: TcpStream, upstream: String) {
    let Ok(client) = acceptor.accept(client).await else {
        return;
    };
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.into_split();
    let _ = tokio::join!(
        copy(&mut from_client, &mut to_server),
        copy(&mut from_server, &mut to_client)
    );
}
