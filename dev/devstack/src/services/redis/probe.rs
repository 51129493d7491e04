//! Checks whether a Redis server is the one that was started and has loaded its data.
//!
//! It speaks the protocol itself, because compiling a Redis client would take too long for this.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::files::secret::Secret;

/// How long one check may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the server with this process id listens on the port and executes commands. False if another server has taken
/// the port.
pub(super) async fn is_ready(port: u16, password: Option<&Secret>, pid: u32) -> bool {
    let result = tokio::time::timeout(TIMEOUT, ask(port, password)).await;
    result.is_ok_and(|answer| answer.is_ok_and(|text| shows_ready(&text, pid)))
}

async fn ask(port: u16, password: Option<&Secret>) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let login = password
        .map(|password| format!("AUTH {}\r\n", password.expose()))
        .unwrap_or_default();
    // QUIT makes the server close the connection after its answers.
    stream
        .write_all(format!("{login}INFO server\r\nPING\r\nQUIT\r\n").as_bytes())
        .await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn shows_ready(answer: &str, pid: u32) -> bool {
    let ours = format!("process_id:{pid}");
    answer.lines().any(|line| line.trim() == ours) && answer.lines().any(|line| line == "+PONG")
}

#[cfg(test)]
mod tests {
    use super::shows_ready;

    #[test]
    fn only_the_started_server_that_has_loaded_its_data_is_ready() {
        let ready = "+OK\r\n$50\r\n# Server\r\nprocess_id:12\r\n\r\n+PONG\r\n+OK\r\n";
        assert!(shows_ready(ready, 12));
        assert!(!shows_ready(ready, 1));
        let loading = ready.replace("+PONG", "-LOADING Redis is loading the dataset in memory");
        assert!(!shows_ready(&loading, 12));
    }
}
