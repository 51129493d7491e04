//! As much of an HTTP client as the quick start needs: one request, one
//! connection, JSON, 127.0.0.1.

#[cfg(test)]
pub(crate) mod canned;

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::canned::Canned;
    use super::*;

    #[tokio::test]
    async fn a_request_carries_its_token_and_body_and_a_problem_is_read() {
        let server = Canned::serve(vec![(502, r#"{"detail":"Agent execution failed: no key"}"#)]);
        let body = json!({ "message": "hi" });
        let answer = send(
            server.port,
            Method::POST,
            "/api/1/chat",
            Some("t.o.k"),
            Some(&body),
        )
        .await
        .unwrap();
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        assert_eq!(answer.problem(), "502 Bad Gateway Agent execution failed: no key");
        let request = server.requests().remove(0);
        assert!(request.starts_with("POST /api/1/chat HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: Bearer t.o.k\r\n"), "{request}");
        assert!(request.ends_with(r#"{"message":"hi"}"#), "{request}");
    }

    #[tokio::test]
    async fn a_closed_port_is_a_fault() {
        let port = crate::ports::any_free().unwrap();
        assert!(send(port, Method::GET, "/readyz", None, None).await.is_err());
    }
}
