//! A server for the tests of clients: it answers what it was told to, in order.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;

/// A running server; [`Canned::requests`] ends it.
pub(crate) struct Canned {
    pub(crate) port: u16,
    thread: JoinHandle<Vec<String>>,
}

impl Canned {
    /// One answer a connection, then it is over.
    pub(crate) fn serve(answers: Vec<(u16, &'static str)>) -> Self {
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

    /// What was asked, whole requests, once every answer has been given.
    pub(crate) fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

fn answer(stream: &mut TcpStream, status: u16, body: &str) -> String {
    let mut request = String::new();
    while !is_whole(&request) {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "the request broke off: {request}");
        request.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    request
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}
