//! Sends one HTTP request to the model provider, without retries. A response with an error status becomes an error.

use std::time::Duration;

use async_openai::config::{AzureConfig, Config, OpenAIConfig};
use errand_shared::service::config::Exit;
use reqwest::{
    Body, Client, Method, Request, Response, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};

use super::{ModelError, error::ProviderError};
use crate::settings::ModelSettings;

/// The base URL if none is set.
const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";
/// At most this many bytes of an error's body are read.
const ERROR_BODY_MAX: usize = 16 * 1024;

/// The URL and the headers of all requests, and the connection pool.
#[derive(Debug)]
pub(super) struct Transport {
    http: Client,
    url: Url,
    headers: HeaderMap,
}

impl Transport {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The setting that is invalid.
    pub(super) fn new(settings: &ModelSettings) -> Result<Self, Exit> {
        let key = settings.openai_api_key.as_ref().map_or("", |key| key.reveal());
        if HeaderValue::from_str(key).is_err() {
            let rule = "must have no line breaks and no other control characters";
            return Err(Exit::bad_setting("OPENAI_API_KEY", rule));
        }
        let base_url = settings.openai_base_url.as_deref().unwrap_or(OPENAI_BASE_URL);
        let url = endpoint(base_url)
            .ok_or_else(|| Exit::bad_setting("OPENAI_BASE_URL", "must be an http or https URL"))?;
        let mut headers = if key.is_empty() {
            HeaderMap::new()
        } else if is_azure(&url) {
            AzureConfig::new().with_api_key(key).headers()
        } else {
            // Organization and project must not be read from the environment: they are not settings of Errand, and other servers
            // than OpenAI's must not receive them.
            let config = OpenAIConfig::new().with_api_key(key);
            config.with_org_id("").with_project_id("").headers()
        };
        for (name, value) in &settings.headers {
            let rule = || {
                Exit::bad_setting(
                    "headers",
                    format!("the value of {name} is not allowed in a header"),
                )
            };
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_invalid| rule())?;
            headers.insert(
                name,
                HeaderValue::from_str(value.reveal()).map_err(|_invalid| rule())?,
            );
        }
        for (_, value) in &mut headers {
            value.set_sensitive(true);
        }
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(usize::MAX)
            .redirect(Policy::none())
            .build()
            .map_err(|error| Exit::bad_setting("OPENAI_BASE_URL", error))?;
        // Building a request once moves a user name and password from the URL into the headers.
        let request = http
            .post(url)
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

    /// The URL of the requests.
    pub(super) const fn url(&self) -> &Url {
        &self.url
    }

    /// Sends a request and returns the response once its headers have arrived.
    ///
    /// # Errors
    /// A response with an error status, or a failed connection.
    pub(super) async fn send(&self, json: Vec<u8>) -> Result<Response, ModelError> {
        let mut request = Request::new(Method::POST, self.url.clone());
        request.headers_mut().clone_from(&self.headers);
        // `Body::wrap` prevents reqwest from keeping a copy of the body until the response arrives, which may take minutes. If a pooled
        // connection turns out to be closed, hyper still returns the unsent request and reqwest sends it on another one.
        *request.body_mut() = Some(Body::wrap(Body::from(json)));
        let response = self.http.execute(request).await?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(error_of(response).await.into())
        }
    }
}

/// The URL of Chat Completions below a base URL, which may end with slashes, have a query, or be that URL already. `None` if it is not
/// an HTTP URL.
fn endpoint(base_url: &str) -> Option<Url> {
    let mut url = Url::parse(base_url.trim()).ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url.path_segments_mut().ok()?.pop_if_empty();
    if !url.path().ends_with("/chat/completions") {
        url.path_segments_mut().ok()?.extend(["chat", "completions"]);
    }
    Some(url)
}

/// Whether a URL is that of an Azure deployment, which takes the key in the header `api-key`.
fn is_azure(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    url.query_pairs().any(|(name, _)| name == "api-version")
        || [
            ".openai.azure.com",
            ".cognitiveservices.azure.com",
            ".services.ai.azure.com",
            ".openai.azure.us",
            ".cognitiveservices.azure.us",
            ".openai.azure.cn",
        ]
        .iter()
        .any(|suffix| host.ends_with(suffix))
}

async fn error_of(mut response: Response) -> ProviderError {
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await {
        body.extend_from_slice(&bytes);
        if body.len() >= ERROR_BODY_MAX {
            break;
        }
    }
    ProviderError::in_response(response.status().as_u16(), response.headers(), &body)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use errand_shared::service::config::Secret;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        model: ModelSettings,
    }

    fn to(url: &str, key: &str) -> Result<Transport, Exit> {
        with_headers(url, key, &[])
    }

    fn with_headers(url: &str, key: &str, headers: &[(&str, &str)]) -> Result<Transport, Exit> {
        let mut program = Program::parse_from(["program".to_owned(), format!("--openai-base-url={url}")]);
        program.model.openai_api_key = (!key.is_empty()).then(|| Secret::new(key));
        program.model.headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Secret::new(*value)))
            .collect();
        Transport::new(&program.model)
    }

    #[test]
    fn additional_headers_are_sent_and_may_replace_the_key() {
        let headers = [("X-Team", "s3cret"), ("authorization", "Token s3cret")];
        let transport = with_headers("http://example.com/v1", "key", &headers).unwrap();
        assert_eq!(transport.headers.get("x-team").unwrap(), "s3cret");
        assert_eq!(transport.headers.get(AUTHORIZATION).unwrap(), "Token s3cret");
        assert!(!format!("{transport:?}").contains("s3cret"), "{transport:?}");
        let exit = with_headers("http://example.com/v1", "key", &[("X-Team", "a\nb")]).unwrap_err();
        assert_eq!(
            exit.text,
            "error: headers: the value of X-Team is not allowed in a header\n"
        );
    }

    #[test]
    fn key_and_password_are_not_printed() {
        let transport = to("http://me:s3cret@example.com/v1", "s3cret").unwrap();
        assert_eq!(transport.url.as_str(), "http://example.com/v1/chat/completions");
        assert_eq!(transport.headers.get(AUTHORIZATION).unwrap(), "Bearer s3cret");
        assert!(!format!("{transport:?}").contains("s3cret"), "{transport:?}");
    }

    #[test]
    fn base_urls_in_every_form() {
        for (base_url, expected) in [
            ("http://example.com/v1", "http://example.com/v1/chat/completions"),
            ("http://example.com/v1/", "http://example.com/v1/chat/completions"),
            (
                "http://example.com/v1//",
                "http://example.com/v1/chat/completions",
            ),
            (
                " http://example.com/v1 ",
                "http://example.com/v1/chat/completions",
            ),
            ("http://example.com", "http://example.com/chat/completions"),
            (
                "http://example.com/?a=b",
                "http://example.com/chat/completions?a=b",
            ),
            (
                "http://example.com/v1/chat/completions/?a=b&c=d%20e",
                "http://example.com/v1/chat/completions?a=b&c=d%20e",
            ),
            (
                "https://generativelanguage.googleapis.com/v1beta/openai/",
                "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
            ),
            (
                "https://x.openai.azure.com/openai/v1/",
                "https://x.openai.azure.com/openai/v1/chat/completions",
            ),
            (
                "https://x.services.ai.azure.com/openai/v1?api-version=preview",
                "https://x.services.ai.azure.com/openai/v1/chat/completions?api-version=preview",
            ),
            (
                "https://x.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
                "https://x.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
            ),
            (
                "http://example.com/v1?key=a#b",
                "http://example.com/v1/chat/completions?key=a",
            ),
            (
                "http://example.com/v1/chat/completions",
                "http://example.com/v1/chat/completions",
            ),
            (
                "https://x.openai.azure.com/openai/deployments/gpt/?api-version=2024-10-21",
                "https://x.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
            ),
        ] {
            assert_eq!(to(base_url, "key").unwrap().url.as_str(), expected, "{base_url}");
        }
    }

    #[test]
    fn key_is_sent_in_the_header_of_the_provider() {
        for base_url in [
            "https://x.openai.azure.com/openai/v1",
            "https://X.OpenAI.Azure.com/openai/v1/",
            "https://x.cognitiveservices.azure.com/openai/deployments/gpt?api-version=2024-10-21",
            "https://x.openai.azure.us/openai/v1",
            "https://gateway.example.com/openai/deployments/gpt?api-version=2024-10-21",
        ] {
            let azure = to(base_url, "s3cret").unwrap();
            assert_eq!(azure.headers.get("api-key").unwrap(), "s3cret", "{base_url}");
            assert_eq!(azure.headers.get(AUTHORIZATION), None, "{base_url}");
            assert!(!format!("{azure:?}").contains("s3cret"), "{azure:?}");
        }
        for base_url in ["https://api.openai.com/v1", "https://azure.com.example.com/v1"] {
            let other = to(base_url, "s3cret").unwrap();
            assert_eq!(
                other.headers.get(AUTHORIZATION).unwrap(),
                "Bearer s3cret",
                "{base_url}"
            );
            assert_eq!(other.headers.get("api-key"), None, "{base_url}");
        }
        let without_key = to("http://example.com", "").unwrap();
        assert_eq!(without_key.headers.get(AUTHORIZATION), None);
    }

    #[test]
    fn invalid_url_and_key_are_bad_settings() {
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
