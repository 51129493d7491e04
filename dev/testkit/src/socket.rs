//! A client of the API's WebSocket.

use errand_shared::Uuid;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue, Response},
    },
};

use crate::eventually::TIMEOUT;

/// An open WebSocket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The subprotocol that the server chose.
    pub protocol: Option<String>,
}

/// A message from the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A JSON text.
    Json(Value),
    /// The server has closed the connection with this code.
    Closed(Option<u16>),
}

impl Socket {
    /// Opens a user's WebSocket with these headers.
    ///
    /// # Errors
    /// The HTTP status if the API refuses the handshake.
    ///
    /// # Panics
    /// If the API cannot be reached.
    #[expect(clippy::unwrap_used, reason = "a test without its socket can only fail")]
    pub async fn open(url: &str, user_id: Uuid, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let url = format!("{}/api/{user_id}/ws", url.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            request
                .headers_mut()
                .append(name, HeaderValue::from_str(value).unwrap());
        }
        match timeout(TIMEOUT, connect_async(request)).await.unwrap() {
            Ok((stream, response)) => Ok(Self {
                stream,
                protocol: protocol_of(&response),
            }),
            Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => {
                assert_eq!(other.to_string(), "", "the handshake was not answered");
                Err(0)
            }
        }
    }

    /// Sends a JSON text.
    pub async fn send_json(&mut self, frame: Value) {
        self.send(Message::text(frame.to_string())).await;
    }

    /// Sends a message of any kind.
    ///
    /// # Panics
    /// If the socket is closed.
    #[expect(clippy::unwrap_used, reason = "a test without its socket can only fail")]
    pub async fn send(&mut self, message: Message) {
        timeout(TIMEOUT, self.stream.send(message))
            .await
            .unwrap()
            .unwrap();
    }

    /// The next frame. Pings are answered automatically.
    ///
    /// # Panics
    /// If none arrives in time.
    #[expect(clippy::unwrap_used, reason = "a test without its frames can only fail")]
    pub async fn next(&mut self) -> Frame {
        loop {
            match timeout(TIMEOUT, self.stream.next()).await.unwrap() {
                Some(Ok(Message::Text(text))) => return Frame::Json(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return Frame::Closed(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Frame::Closed(None),
            }
        }
    }

    /// The next frame, which must be JSON.
    ///
    /// # Panics
    /// If the server closes the connection instead.
    #[expect(clippy::panic, reason = "a test without its frames can only fail")]
    pub async fn json(&mut self) -> Value {
        match self.next().await {
            Frame::Json(frame) => frame,
            Frame::Closed(code) => panic!("closed with {code:?}"),
        }
    }

    /// The frames up to and including the first of this type.
    pub async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.json().await;
            let found = crate::kind_of(&frame) == kind;
            frames.push(frame);
            if found {
                return frames;
            }
        }
    }

    /// Reads until the server closes the connection. Returns the frames and the code.
    pub async fn rest(mut self) -> (Vec<Value>, Option<u16>) {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                Frame::Json(frame) => frames.push(frame),
                Frame::Closed(code) => return (frames, code),
            }
        }
    }
}

fn protocol_of<T>(response: &Response<T>) -> Option<String> {
    let chosen = response.headers().get("sec-websocket-protocol")?;
    chosen.to_str().ok().map(str::to_owned)
}
