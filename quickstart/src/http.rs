//! As much of an HTTP client as the quick start needs: one request, one
//! connection, JSON, 127.0.0.1.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Longer than the API lets a chat wait by default.
const PATIENCE: Duration = Duration::from_secs(90);

/// More than any answer to these requests; a guard, not a limit to be met.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// A fault below HTTP, in words.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// An answer of whatever status.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The body; `Null` when it is not JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// A member of the body that is text.
    pub(crate) fn text(&self, member: &str) -> Option<&str> {
        self.body.get(member)?.as_str()
    }

    /// The status and what the problem's `detail` says, for a person.
    pub(crate) fn problem(&self) -> String {
        let detail = self
            .text("detail")
            .or_else(|| self.text("message"))
            .unwrap_or_default();
        format!("{} {detail}", self.status).trim().to_owned()
    }
}

/// Sends a request to a port on 127.0.0.1 and reads the whole answer.
pub(crate) async fn send(
    port: u16,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<Answer, Fault> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", format!("127.0.0.1:{port}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(body.map(Value::to_string).unwrap_or_default())?;
    tokio::time::timeout(PATIENCE, exchange(port, request)).await?
}

async fn exchange(port: u16, request: Request<String>) -> Result<Answer, Fault> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let bytes = collect(response.into_body()).await?;
        Ok(Answer {
            status,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        })
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may end before its last bytes have been read from it.
        ended = &mut connection => { ended?; answer.await }
    }
}

async fn collect(mut body: Incoming) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MAX_BODY {
            return Err("the answer is too long".into());
        }
    }
    Ok(bytes)
}
