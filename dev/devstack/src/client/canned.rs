//! An HTTP server for tests of clients: returns prepared answers in order. It panics on anything unexpected.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test whose server fails can only fail"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;

/// A running server. It stops after its last answer.
#[derive(Debug)]
pub struct Canned {
    /// The port on 127.0.0.1.
    pub port: u16,
    thread: JoinHandle<Vec<String>>,
}

impl Canned {
    /// Returns one answer for each connection.
    pub fn serve(answers: Vec<(u16, &'static str)>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            answers
                .iter()
                .map(|(status, body)| answer(&mut listener.accept().unwrap().0, *status, body))
                .collect()
        });
        Self { port, thread }
    }

    /// The requests, once every answer has been sent.
    pub fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

fn answer(stream: &mut TcpStream, status: u16, body: &str) -> String {
    let mut request = String::new();
    while !is_complete(&request) {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "the request is incomplete: {request}");
        request.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    request
}

fn is_complete(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}
