//! What a server must know of a connection that actix does not tell: since when it serves nobody, and
//! whether its client has left.
//!
//! actix-http stops its clock of an idle connection at the first byte of a further request and has none
//! for that request's head; and it sees a client leave only by reading, which it stops doing when 128 KiB
//! of further requests wait behind the one being answered. So each connection is watched beside actix, by
//! a second descriptor of its socket.

use std::{
    any::Any,
    cell::Cell,
    future::pending,
    io,
    os::fd::AsFd,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    dev::Extensions,
    rt::net::TcpStream,
    web::Bytes,
};
use rustix::{
    io::ioctl_fionread,
    net::{Shutdown, shutdown, sockopt},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::{
    io::Interest,
    task::{AbortHandle, spawn_local},
    time::{Instant, sleep_until, timeout},
};
use tracing::debug;

/// How often it is looked whether what a client sent behind its request moves at all.
const LOOK: Duration = Duration::from_secs(1);

/// One connection, from its accept to its end.
pub(crate) struct Connection {
    /// Never read from: actix does that.
    socket: TcpStream,
    requests: Cell<usize>,
    idle_since: Cell<Instant>,
    ended: Cell<bool>,
    closer: Cell<Option<AbortHandle>>,
}

/// A request that is being answered, up to the last byte of its answer's body.
pub(crate) struct Open(Rc<Connection>);

/// A body whose connection is busy as long as it is sent.
pub(crate) struct OpenBody {
    body: BoxBody,
    _open: Open,
}

/// Watches a connection that was just accepted: it is closed when for as long as `idle` no request was
/// being answered.
pub(crate) fn watch(io: &dyn Any, extensions: &mut Extensions, idle: Duration) {
    let Some(stream) = io.downcast_ref::<TcpStream>() else {
        return;
    };
    match Connection::watched(stream, idle) {
        Ok(connection) => drop(extensions.insert(connection)),
        Err(err) => {
            // Nobody would ever end it.
            debug!("a connection cannot be watched and is closed: {err}");
            let _ = shutdown(stream, Shutdown::Both);
        }
    }
}

impl Connection {
    fn watched(stream: &TcpStream, idle: Duration) -> io::Result<Rc<Self>> {
        // A client that takes no byte of its answer for so long is gone too.
        let milliseconds = u32::try_from(idle.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(stream, milliseconds)?;
        let socket = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?);
        let connection = Rc::new(Self {
            socket: TcpStream::from_std(socket)?,
            requests: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            ended: Cell::new(false),
            closer: Cell::new(None),
        });
        let closer = spawn_local(close_when_idle(Rc::downgrade(&connection), idle));
        connection.closer.set(Some(closer.abort_handle()));
        Ok(connection)
    }

    /// Notes that a request is being answered.
    pub(crate) fn open(self: &Rc<Self>) -> Open {
        self.requests.set(self.requests.get() + 1);
        Open(Rc::clone(self))
    }

    /// Resolves when the client has closed its side, or lets so much wait behind its request that its
    /// leaving could not be seen.
    pub(crate) async fn hung_up(&self) {
        let mut before = 0;
        while timeout(LOOK, self.read_closed()).await.is_err() {
            let unread = ioctl_fionread(&self.socket).unwrap_or(0);
            if unread > 0 && unread == before {
                debug!(unread, "a client that sends without end is let go");
                return;
            }
            before = unread;
        }
    }

    /// Ends the connection both ways; nothing that its client sent is begun any more.
    pub(crate) fn end(&self) {
        self.ended.set(true);
        // Fails when the client was first.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }

    /// Whether it was ended here.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    async fn read_closed(&self) {
        loop {
            match self.socket.ready(Interest::READABLE).await {
                Ok(ready) if ready.is_read_closed() => return,
                Ok(_) => {
                    // Until something happens again.
                    let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                    let _ = self.socket.try_io(Interest::READABLE, nothing);
                }
                // The runtime ends, and everything with it.
                Err(_) => pending().await,
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(closer) = self.closer.take() {
            closer.abort();
        }
    }
}

async fn close_when_idle(connection: Weak<Connection>, idle: Duration) {
    let mut look = Instant::now() + idle;
    loop {
        sleep_until(look).await;
        let Some(connection) = connection.upgrade() else {
            return;
        };
        look = match connection.requests.get() {
            0 => connection.idle_since.get() + idle,
            _ => Instant::now() + idle,
        };
        if look <= Instant::now() {
            return connection.end();
        }
    }
}

impl Open {
    /// Keeps the connection busy until `body` is sent.
    pub(crate) fn until_sent(self, body: BoxBody) -> OpenBody {
        OpenBody { body, _open: self }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}

impl MessageBody for OpenBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }

    fn try_into_bytes(self) -> Result<Bytes, Self> {
        let Self { body, _open } = self;
        body.try_into_bytes().map_err(|body| Self { body, _open })
    }
}

/// Lets the process have as many open files as it may: each connection takes two.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(err) = setrlimit(Resource::Nofile, raised) {
        debug!("the limit of open files stays as it is: {err}");
    }
}
