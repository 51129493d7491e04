//! One HTTP exchange with the model's server, without tries of its own: answers other than a stream become faults.

use std::time::Duration;

use async_openai::config::{Config, OpenAIConfig};
use errand_shared::service::config::Exit;
use futures::StreamExt;
use reqwest::{
    Body, Client, Method, Request, Response, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};
use serde::Deserialize;

use super::fault::{ModelFault, line};
use crate::settings::ModelSettings;

/// Where requests go if no base URL is set.
const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";
/// Bytes of an error's body that are read.
const ERROR_BODY_MAX: usize = 16 * 1024;

/// The way to where chats are completed, and what all requests have in common; connections are kept and shared.
#[derive(Debug)]
pub(super) struct Transport {
    http: Client,
    url: Url,
    headers: HeaderMap,
}

impl Transport {
    /// A way to the server that the settings name.
    ///
    /// # Errors
    /// The setting that makes none.
    pub(super) fn new(settings: &ModelSettings) -> Result<Self, Exit> {
        let key = settings.openai_api_key.as_ref().map_or("", |key| key.reveal());
        if HeaderValue::from_str(key).is_err() {
            let rule = "must have no line breaks and no other control characters";
            return Err(Exit::bad_setting("OPENAI_API_KEY", rule));
        }
        // What it would take from the environment besides is no setting of ours, and nothing for other people's servers.
        let config = OpenAIConfig::new()
            .with_api_base(settings.openai_base_url.as_deref().unwrap_or(OPENAI_BASE_URL))
            .with_api_key(key)
            .with_org_id("")
            .with_project_id("");
        let mut headers = config.headers();
        if key.is_empty() {
            headers.remove(AUTHORIZATION);
        }
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(usize::MAX)
            .redirect(Policy::none())
            .build()
            .map_err(|error| Exit::bad_setting("OPENAI_BASE_URL", error))?;
        // Built by the client once, which takes a name and a password out of the address.
        let request = http
            .post(config.url("/chat/completions"))
            .headers(headers)
            .header(CONTENT_TYPE, "application/json")
            .build()
            .map_err(|_no_request| Exit::bad_setting("OPENAI_BASE_URL", "must be an http or https URL"))?;
        let mut headers = request.headers().clone();
        if let Some(authorization) = headers.get_mut(AUTHORIZATION) {
            authorization.set_sensitive(true);
        }
        Ok(Self {
            http,
            url: request.url().clone(),
            headers,
        })
    }

    /// Sends a request and gives the answer once its stream has begun.
    ///
    /// # Errors
    /// What came in place of a stream.
    pub(super) async fn send(&self, json: Vec<u8>) -> Result<Response, ModelFault> {
        let mut request = Request::new(Method::POST, self.url.clone());
        request.headers_mut().clone_from(&self.headers);
        // A body that can't be sent twice: reqwest would keep a copy for that until the answer comes, and the model may think
        // for minutes. A kept connection that turns out to be closed still gives an unsent request back to be sent on another.
        *request.body_mut() = Some(Body::wrap(Body::from(json)));
        let response = self.http.execute(request).await?;
        if response.status().is_success() && is_event_stream(&response) {
            Ok(response)
        } else {
            Err(fault(response).await)
        }
    }
}

fn is_event_stream(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .trim_start()
                .to_ascii_lowercase()
                .starts_with("text/event-stream")
        })
}

/// The error object that servers send, as far as it matters here.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    message: String,
    code: Option<serde_json::Value>,
}

async fn fault(response: Response) -> ModelFault {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        body.extend_from_slice(&chunk);
        if body.len() >= ERROR_BODY_MAX {
            break;
        }
    }
    if status.is_success() {
        return ModelFault::Malformed("the answer is not a stream of events".to_owned());
    }
    let (message, code) = match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(body) => (body.error.message, body.error.code),
        Err(_) => (String::from_utf8_lossy(&body).into_owned(), None),
    };
    let quota = code.is_some_and(|code| code == "insufficient_quota");
    ModelFault::Status {
        code: status.as_u16(),
        retry_after,
        quota,
        message: line(&message),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        model: ModelSettings,
    }

    fn to(url: &str, key: &str) -> Result<Transport, Exit> {
        let arguments = [
            format!("--openai-base-url={url}"),
            format!("--openai-api-key={key}"),
        ];
        let program = Program::parse_from(["program".to_owned()].into_iter().chain(arguments));
        Transport::new(&program.model)
    }

    #[test]
    fn neither_a_key_nor_a_password_is_shown() {
        let transport = to("http://me:s3cret@example.com/v1", "s3cret").unwrap();
        assert_eq!(transport.url.as_str(), "http://example.com/v1/chat/completions");
        assert_eq!(transport.headers.get(AUTHORIZATION).unwrap(), "Bearer s3cret");
        assert!(!format!("{transport:?}").contains("s3cret"), "{transport:?}");
    }

    #[test]
    fn what_makes_no_request_is_a_bad_setting() {
        let exit = to("http://example.com", "s3c\nret").unwrap_err();
        assert_eq!(
            exit.text,
            "error: OPENAI_API_KEY: must have no line breaks and no other control characters\n"
        );
        let exit = to("http://[", "key").unwrap_err();
        assert_eq!(
            exit.text,
            "error: OPENAI_BASE_URL: must be an http or https URL\n"
        );
    }
}
