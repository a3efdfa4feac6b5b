//! A body that is sent piece by piece, so that somebody sees how far it is.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::commands::bar::Bar;

/// Bytes that are handed on at once.
const PIECE: usize = 64 * 1024;

/// What is still to be sent, and the bar of what was.
pub(super) struct Piecemeal {
    rest: Bytes,
    bar: Bar,
}

impl Piecemeal {
    pub(super) fn new(body: Bytes) -> Self {
        let bar = Bar::bytes("sending", Some(body.len() as u64));
        Self { rest: body, bar }
    }
}

impl Body for Piecemeal {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        self.bar.add(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
