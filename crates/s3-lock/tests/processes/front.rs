//! What stands before the S3 server: it may not pass conditions on, so that the server seems to be one that
//! does not know them; and it passes one call at a time, so that the server seems to be one whose calls
//! are atomic. (versitygw 1.8.0 is not: while the last version of an object is deleted, its others cannot
//! be seen.)

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use s3_lock::{Conditional, Error, S3Lock, bucket::Bucket};
use testbed::S3;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use crate::{TIMEOUT, worker};

/// Which conditions it sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sees {
    /// None.
    Nothing,
    /// Only those that it is tried with.
    Probe,
    /// All of them.
    All,
}

pub(crate) struct Proxy {
    s3: Arc<S3>,
    sees: Sees,
    turn: Mutex<()>,
    client: reqwest::Client,
}

/// A lock does not start where two conditional writes win.
pub(crate) async fn is_refused_where_conditions_are_not_kept(s3: &Arc<S3>) {
    let endpoint = Proxy::start(Arc::clone(s3), Sees::Nothing).await;
    let bucket = Bucket::new(worker::options(&endpoint, "plain")).unwrap();
    let lock = S3Lock::<Conditional>::new(bucket, "refused", TIMEOUT).unwrap();
    let refused = lock.acquire_timeout(Duration::from_secs(1)).await;
    let err = refused.expect_err("a lock where nothing keeps it apart");
    assert!(
        matches!(&err, Error::Unfit(why) if why.contains("conditional writes win")),
        "{err}"
    );
}

impl Proxy {
    /// Where it listens.
    pub(crate) async fn start(s3: Arc<S3>, sees: Sees) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Arc::new(Self {
            s3,
            sees,
            turn: Mutex::default(),
            client: reqwest::Client::new(),
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&proxy).serve(BufReader::new(stream)));
            }
        });
        format!("http://{address}")
    }

    async fn serve(self: Arc<Self>, mut stream: BufReader<TcpStream>) {
        while let Some((method, path, headers, body)) = request(&mut stream).await {
            let answer = self.pass_on(method, &path, headers, body).await;
            let status = answer.status();
            let mut head = String::new();
            for (name, value) in answer.headers() {
                if name == "etag" || name.as_str().starts_with("x-amz-") {
                    head += &format!("{name}: {}\r\n", value.to_str().unwrap());
                }
            }
            let body = answer.text().await.unwrap();
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\n{head}content-length: {length}\r\n\r\n{body}");
            if stream.get_mut().write_all(head.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    /// Signs it anew: the conditions were signed too.
    async fn pass_on(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: String,
    ) -> reqwest::Response {
        let is_seen = match self.sees {
            Sees::Nothing => false,
            Sees::Probe => path.contains("probe"),
            Sees::All => true,
        };
        let passes = |name: &HeaderName| {
            let name = name.as_str();
            name.starts_with("x-amz-meta-") || (is_seen && name.starts_with("if-"))
        };
        let others: Vec<_> = headers
            .keys()
            .filter(|name| !passes(name))
            .cloned()
            .collect();
        for name in others {
            headers.remove(name);
        }
        let path = path.trim_start_matches('/');
        let _alone = self.turn.lock().await;
        let answer = self.s3.call_by(&self.client, method, path, headers, body);
        answer.await.unwrap()
    }
}

/// The next request of a connection, of which the library sends only plain ones.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<(Method, String, HeaderMap, String)> {
    let mut line = String::new();
    stream
        .read_line(&mut line)
        .await
        .ok()
        .filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.parse().ok()?, words.next()?.to_owned());
    let mut headers = HeaderMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(
            HeaderName::try_from(name).ok()?,
            HeaderValue::from_str(value).ok()?,
        );
    }
    let length = headers
        .get("content-length")
        .map_or("0", |length| length.to_str().unwrap());
    let mut body = vec![0; length.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some((method, path, headers, String::from_utf8(body).ok()?))
}
