//! What may be found, and what to do about it.

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::exit::{Failure, REFUSED, UNAVAILABLE};

/// Something that was found.
#[derive(Debug)]
pub(crate) struct Finding {
    kind: Kind,
    url: String,
    what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Well,
    NobodyListens,
    NotALockService,
    PlainToTls,
    TlsToPlain,
    ExpiredCertificate,
    UnknownAuthority,
    OtherCertificate,
    ClientCertificate,
    Unauthenticated,
    Forbidden,
    StoreDown,
    TtlTooShort,
    WrongWire,
    ClockOff,
    Silent,
    Trouble,
}

impl Kind {
    /// Its stable name, and what to do.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Well => ("well", ""),
            Self::NobodyListens => (
                "nobody-listens",
                "check host and port (--url, LOCK_URL), and that the service runs",
            ),
            Self::NotALockService => (
                "not-a-lock-service",
                "something else listens there: check the port (--url, LOCK_URL)",
            ),
            Self::PlainToTls => (
                "plain-to-tls",
                "the server speaks TLS: write https:// in --url",
            ),
            Self::TlsToPlain => (
                "tls-to-plain",
                "the server does not speak TLS: write http:// in --url, or ask for its TLS port",
            ),
            Self::ExpiredCertificate => (
                "expired-certificate",
                "renew the server's certificate, and check both clocks",
            ),
            Self::UnknownAuthority => (
                "unknown-authority",
                "give the authority that signed the server's certificate: --tls-ca, LOCK_TLS_CA",
            ),
            Self::OtherCertificate => (
                "certificate-for-another-name",
                "use the name in the certificate, or have it issued for this one",
            ),
            Self::ClientCertificate => (
                "client-certificate",
                "the server wants a certificate of us: --tls-cert and --tls-key",
            ),
            Self::Unauthenticated => (
                "unauthenticated",
                "give a token that it knows: --bearer-token-file, LOCK_BEARER_TOKEN_FILE",
            ),
            Self::Forbidden => (
                "forbidden",
                "it knows us and does not let us: ask for the right to this lock",
            ),
            Self::StoreDown => (
                "store-down",
                "the service lives and its store does not answer: look at etcd and the service's log",
            ),
            Self::TtlTooShort => (
                "ttl-below-minimum",
                "ask for a TTL of whole seconds, 2s or more, and count on what is granted",
            ),
            Self::WrongWire => (
                "wrong-wire",
                "this server has no /v1, it speaks the tentens-tech/shared-lock wire: --wire lease",
            ),
            Self::ClockOff => (
                "clock-off",
                "set both clocks (NTP); locks do not depend on them, certificates, tokens and logs do",
            ),
            Self::Silent => (
                "silent",
                "a connection opens and nothing comes back: look at the service, and at what is between",
            ),
            Self::Trouble => ("trouble", "look at the service's log"),
        }
    }
}

impl Finding {
    pub(crate) fn new(kind: Kind, url: &str, what: impl Into<String>) -> Self {
        Self {
            kind,
            url: url.to_owned(),
            what: what.into(),
        }
    }

    /// Locks work in spite of it.
    pub(crate) fn is_harmless(&self) -> bool {
        self.kind == Kind::Well
    }

    pub(crate) fn told(&self) -> String {
        let (name, what_to_do) = self.kind.words();
        match self.kind {
            Kind::Well => format!("\x1b[32mwell\x1b[0m  {}: {}", self.url, self.what),
            _ => format!(
                "\x1b[31m{name}\x1b[0m  {}: {}\n      {what_to_do}",
                self.url, self.what
            ),
        }
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, what_to_do) = self.kind.words();
        let mut finding = serializer.serialize_struct("Finding", 4)?;
        finding.serialize_field("finding", name)?;
        finding.serialize_field("url", &self.url)?;
        finding.serialize_field("what", &self.what)?;
        finding.serialize_field("do", what_to_do)?;
        finding.end()
    }
}

/// What a failed call of the client is a sign of.
pub(crate) fn kind_of(failure: &Failure) -> Kind {
    match failure.code {
        REFUSED if failure.why.contains("401") => Kind::Unauthenticated,
        REFUSED => Kind::Forbidden,
        UNAVAILABLE if failure.why.contains("store-unavailable") => Kind::StoreDown,
        _ => Kind::Trouble,
    }
}
