//! An OTLP collector that keeps the spans it is sent.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context, Result, ensure};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1,
};
use prost::Message;

/// Listens for OTLP over HTTP (protobuf) on a free port. Its threads end with the process.
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

/// A span as it was sent. Ids are in hexadecimal.
#[derive(Debug, Clone)]
pub struct Span {
    /// Who sent it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its trace.
    pub trace_id: String,
    /// Itself.
    pub span_id: String,
    /// The span above it; empty when there is none.
    pub parent_id: String,
    /// The traces it is linked to.
    pub linked_traces: Vec<String>,
}

impl Collector {
    /// Starts one.
    ///
    /// # Errors
    /// There is no port to listen on.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let kept = Arc::clone(&spans);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                thread::spawn(move || {
                    if let Err(error) = receive(stream, &kept) {
                        eprintln!("the collector did not understand a request: {error:#}");
                    }
                });
            }
        });
        Ok(Self { address, spans })
    }

    /// What a service is given as its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans that came so far. A process sends its last ones before it ends.
    pub fn spans(&self) -> Vec<Span> {
        lock(&self.spans).clone()
    }
}

/// One request; the connection is closed after its answer.
fn receive(stream: TcpStream, kept: &Mutex<Vec<Span>>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    ensure!(line.starts_with("POST /v1/traces "), "{line}");
    let mut length = None;
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
        let header = line.to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = Some(value.trim().parse()?);
        }
    }
    let mut body = vec![0; length.context("a request without a length")?];
    reader.read_exact(&mut body)?;
    let sent = ExportTraceServiceRequest::decode(&*body)?;
    // Kept before they are acknowledged: whoever sent them may end then, and the test look.
    lock(kept).extend(spans_of(sent));
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    reader.into_inner().write_all(answer)?;
    Ok(())
}

fn spans_of(sent: ExportTraceServiceRequest) -> impl Iterator<Item = Span> {
    sent.resource_spans.into_iter().flat_map(|resource| {
        let service = service_name(&resource);
        let spans = resource.scope_spans.into_iter().flat_map(|it| it.spans);
        spans.map(move |span| Span {
            service: service.clone(),
            name: span.name,
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent_id: hex(&span.parent_span_id),
            linked_traces: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
        })
    })
}

fn service_name(resource: &v1::ResourceSpans) -> String {
    let attributes = resource.resource.iter().flat_map(|it| &it.attributes);
    let name = attributes
        .filter(|attribute| attribute.key == "service.name")
        .find_map(
            |attribute| match attribute.value.as_ref()?.value.as_ref()? {
                Value::StringValue(name) => Some(name.clone()),
                _ => None,
            },
        );
    name.unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock(spans: &Mutex<Vec<Span>>) -> MutexGuard<'_, Vec<Span>> {
    spans.lock().unwrap_or_else(PoisonError::into_inner)
}
