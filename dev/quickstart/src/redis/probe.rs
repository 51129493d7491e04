//! Asks a Redis server whether it is the one we started and has loaded its data,
//! in its wire protocol by hand: a driver would be much to compile for that.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::secret::Secret;

const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the server with this process id listens here and serves commands.
/// False as well when it is a stranger's server that took the port.
pub(super) async fn answers(port: u16, password: Option<&Secret>, pid: u32) -> bool {
    let asked = tokio::time::timeout(PATIENCE, ask(port, password)).await;
    asked.is_ok_and(|answer| answer.is_ok_and(|text| shows_ready(&text, pid)))
}

async fn ask(port: u16, password: Option<&Secret>) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let login = password
        .map(|password| format!("AUTH {}\r\n", password.expose()))
        .unwrap_or_default();
    // QUIT makes the server close, so that the answer has an end.
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
    fn only_our_own_and_loaded_server_is_ready() {
        let ready = "+OK\r\n$50\r\n# Server\r\nprocess_id:12\r\n\r\n+PONG\r\n+OK\r\n";
        assert!(shows_ready(ready, 12));
        assert!(!shows_ready(ready, 1));
        let loading = ready.replace("+PONG", "-LOADING Redis is loading the dataset in memory");
        assert!(!shows_ready(&loading, 12));
    }
}
