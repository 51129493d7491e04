//! A small HTTP/1.1 client for JSON APIs and event streams on 127.0.0.1.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::events::{Event, EventParser};

/// The default time limit of a request. Longer than the API lets a chat wait by default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);

/// The largest body that is read. No answer of the API comes near it.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Why a request has no answer.
#[derive(Debug)]
pub enum RequestError {
    /// Nothing accepted the connection.
    Connect(std::io::Error),
    /// The connection was accepted, but the answer did not arrive in time.
    TimedOut,
    /// The connection broke, or what arrived was not HTTP.
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
        }
    }
}

impl std::error::Error for RequestError {}

impl RequestError {
    fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Broken(error.into())
    }
}

/// A request that has not been sent.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    path: String,
    headers: Vec<(header::HeaderName, String)>,
    body: String,
    timeout: Duration,
}

impl Request {
    /// `GET path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into())
    }

    /// `POST path`.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path.into())
    }

    /// `PUT path`.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path.into())
    }

    fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            headers: Vec::new(),
            body: String::new(),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Adds a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.with(header::AUTHORIZATION, format!("Bearer {token}"))
    }

    /// Adds a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string();
        self.with(header::CONTENT_TYPE, "application/json".to_owned())
    }

    /// Adds a header. The name must be in lower case.
    #[must_use]
    pub fn header(self, name: &'static str, value: impl fmt::Display) -> Self {
        self.with(header::HeaderName::from_static(name), value.to_string())
    }

    fn with(mut self, name: header::HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// How long the whole answer may take; for an event stream, its headers.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The method and path, for messages.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn build(self, address: SocketAddr) -> Result<hyper::Request<String>, RequestError> {
        let mut request = hyper::Request::builder()
            .method(self.method)
            .uri(self.path)
            .header(header::HOST, address.to_string());
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(self.body).map_err(RequestError::broken)
    }
}

/// An answer of any status.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `Null` if it is something else.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The status and the problem's `detail`, for a message.
    pub fn problem(&self) -> String {
        let body = self.json();
        let text = |member: &str| body.get(member).and_then(Value::as_str);
        let detail = text("detail").or_else(|| text("message")).unwrap_or_default();
        format!("{} {detail}", self.status).trim().to_owned()
    }
}

/// A keep-alive connection that sends one request at a time.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    sender: http1::SendRequest<String>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self, RequestError> {
        let stream = TcpStream::connect(address).await.map_err(RequestError::Connect)?;
        stream.set_nodelay(true).map_err(RequestError::Connect)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(RequestError::broken)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the task ends when the connection is dropped; its errors also reach the sender"
        )]
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { address, sender })
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, request: Request) -> Result<Answer, RequestError> {
        let timeout = request.timeout;
        tokio::time::timeout(timeout, self.exchange(request))
            .await
            .unwrap_or(Err(RequestError::TimedOut))
    }

    async fn exchange(&mut self, request: Request) -> Result<Answer, RequestError> {
        let response = self.start(request).await?;
        let (head, body) = response.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: collect(body).await?,
        })
    }

    async fn start(&mut self, request: Request) -> Result<hyper::Response<Incoming>, RequestError> {
        let request = request.build(self.address)?;
        self.sender.ready().await.map_err(RequestError::broken)?;
        self.sender
            .send_request(request)
            .await
            .map_err(RequestError::broken)
    }

    /// Sends a request whose answer is a stream of server-sent events.
    pub async fn open_stream(mut self, request: Request) -> Result<EventStream, RequestError> {
        let timeout = request.timeout;
        let response = tokio::time::timeout(timeout, self.start(request))
            .await
            .unwrap_or(Err(RequestError::TimedOut))?;
        Ok(EventStream {
            status: response.status(),
            body: response.into_body(),
            parser: EventParser::default(),
            _connection: self,
        })
    }
}

/// An answer that is a stream of server-sent events.
#[derive(Debug)]
pub struct EventStream {
    /// The status of the answer. Only a 200 has events.
    pub status: StatusCode,
    body: Incoming,
    parser: EventParser,
    _connection: Connection,
}

impl EventStream {
    /// The next event; `None` at the end of the stream.
    ///
    /// # Errors
    /// If the connection breaks, or nothing arrives for `silence`. Comments count as arrivals.
    pub async fn next(&mut self, silence: Duration) -> Result<Option<Event>, RequestError> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            let Ok(data) = tokio::time::timeout(silence, next_data(&mut self.body)).await else {
                return Err(RequestError::TimedOut);
            };
            match data? {
                Some(data) => self.parser.push(&data),
                None => return Ok(None),
            }
        }
    }
}

async fn collect(mut body: Incoming) -> Result<Vec<u8>, RequestError> {
    let mut bytes = Vec::new();
    while let Some(data) = next_data(&mut body).await? {
        bytes.extend_from_slice(&data);
        if bytes.len() > MAX_BODY {
            return Err(RequestError::broken("the answer is too long"));
        }
    }
    Ok(bytes)
}

/// The next piece of a body; `None` at its end.
async fn next_data(body: &mut Incoming) -> Result<Option<hyper::body::Bytes>, RequestError> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(RequestError::broken(error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
