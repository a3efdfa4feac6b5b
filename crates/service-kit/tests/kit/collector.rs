//! An OTLP collector that keeps what it is sent.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
};

pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    received: mpsc::Receiver<(String, Vec<u8>)>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream);
                let mut head = Vec::new();
                while let Some(Ok(line)) = reader
                    .by_ref()
                    .lines()
                    .next()
                    .filter(|l| l.as_ref().is_ok_and(|l| !l.is_empty()))
                {
                    head.push(line.to_ascii_lowercase());
                }
                let Some(length) = head
                    .iter()
                    .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                else {
                    continue;
                };
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                reader
                    .into_inner()
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .unwrap();
                sender.send((head.swap_remove(0), body)).unwrap();
            }
        });
        Self { address, received }
    }

    pub(crate) fn received(&self) -> (String, Vec<u8>) {
        self.received
            .recv_timeout(std::time::Duration::from_secs(10))
            .expect("spans arrive within ten seconds")
    }
}
