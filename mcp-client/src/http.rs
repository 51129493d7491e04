//! The HTTP client of an MCP server. By default it connects only to public addresses, and it never follows redirects.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use errand_shared::service::config::Secret;
use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{HeaderMap, HeaderName, HeaderValue},
};
use thiserror::Error;

use crate::address;

/// The reason why a client can't be created.
#[derive(Debug, Error)]
pub(crate) enum HttpClientError {
    #[error("url: must be an http or https URL with a host and without credentials")]
    Url,
    #[error("url: {0} is not a public address; allow_private = true allows it")]
    Private(IpAddr),
    #[error("headers.{0}: the variable's value is not a valid header value")]
    Header(String),
    #[error("url: {0}")]
    Client(#[from] reqwest::Error),
}

/// Creates a client for one server.
///
/// It follows no redirects, which would send the request and its headers to another address. It uses no proxy, which would
/// resolve names itself. It keeps no idle connections: if the server closed one during a call, the call's outcome would be
/// unknown.
pub(crate) fn client(
    url: &str,
    headers: &[(String, Secret)],
    allow_private: bool,
    connect_timeout: Duration,
) -> Result<Client, HttpClientError> {
    check(url, allow_private)?;
    let mut sent = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let invalid = || HttpClientError::Header(name.clone());
        let Ok(key) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(invalid());
        };
        let Ok(mut value) = HeaderValue::from_str(value.reveal()) else {
            return Err(invalid());
        };
        value.set_sensitive(true);
        sent.insert(key, value);
    }
    let builder = Client::builder()
        .default_headers(sent)
        .connect_timeout(connect_timeout)
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy();
    let builder = if allow_private {
        builder
    } else {
        builder.dns_resolver(Arc::new(PublicOnly(System)))
    };
    Ok(builder.build()?)
}

/// Checks the URL. An IP address as host must be checked here, because it never reaches the resolver.
fn check(url: &str, allow_private: bool) -> Result<(), HttpClientError> {
    let Ok(url) = Url::parse(url) else {
        return Err(HttpClientError::Url);
    };
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or(HttpClientError::Url)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(HttpClientError::Url);
    }
    match host.trim_matches(['[', ']']).parse() {
        Ok(address) if !allow_private && !address::is_public(address) => {
            Err(HttpClientError::Private(address))
        }
        _ => Ok(()),
    }
}

/// Resolves host names.
trait Lookup: Send + Sync + 'static {
    fn lookup(&self, host: String) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The system's resolver.
#[derive(Clone, Debug)]
struct System;

impl Lookup for System {
    async fn lookup(&self, host: String) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.collect())
    }
}

/// Returns only the public addresses of a name. It runs for every connection, which prevents DNS rebinding.
#[derive(Debug)]
struct PublicOnly<L>(L);

#[derive(Debug, Error)]
#[error("the server's name has no public address")]
struct NoPublicAddress;

impl<L: Lookup + Clone> Resolve for PublicOnly<L> {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = self.0.clone();
        Box::pin(async move {
            let found = lookup.lookup(name.as_str().to_owned()).await?;
            let public: Vec<_> = found
                .into_iter()
                .filter(|found| address::is_public(found.ip()))
                .collect();
            if public.is_empty() {
                return Err(NoPublicAddress.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rejection(url: &str) -> Option<String> {
        client(url, &[], false, SECOND)
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn rejects_private_addresses_in_any_notation() {
        for url in [
            "http://127.0.0.1/mcp",
            "http://2130706433/",
            "http://0x7f.1:8080/",
            "http://[::1]/",
            "http://[::ffff:169.254.169.254]/latest",
            "http://10.1.2.3",
            "http://0/",
        ] {
            let reason = rejection(url).unwrap_or_default();
            assert!(reason.contains("is not a public address"), "{url}: {reason}");
            assert!(client(url, &[], true, SECOND).is_ok(), "{url}");
        }
        for url in [
            "http://",
            "https://user:secret@example.com/",
            "https://user@example.com/",
        ] {
            let reason = rejection(url).unwrap_or_default();
            assert!(reason.starts_with("url: must be"), "{url}: {reason}");
            assert!(!reason.contains("secret"), "{reason}");
        }
        assert_eq!(rejection("https://example.com/mcp"), None);
    }

    #[test]
    fn error_does_not_reveal_header_value() {
        let headers = [("Authorization".to_owned(), Secret::new("hunter2\n"))];
        let reason = client("https://example.com", &headers, false, SECOND)
            .unwrap_err()
            .to_string();
        assert!(reason.starts_with("headers.Authorization: "), "{reason}");
        assert!(!reason.contains("hunter2"), "{reason}");
    }

    /// A name that resolves to a public address once and to a private one afterwards.
    #[derive(Clone)]
    struct Rebinding(Arc<AtomicUsize>);

    impl Lookup for Rebinding {
        async fn lookup(&self, _host: String) -> io::Result<Vec<SocketAddr>> {
            let lookups = self.0.fetch_add(1, Ordering::Relaxed);
            Ok(vec![match lookups {
                0 => ([8, 8, 8, 8], 0).into(),
                _ => ([127, 0, 0, 1], 0).into(),
            }])
        }
    }

    #[tokio::test]
    async fn rejects_name_that_becomes_private() {
        let resolver = PublicOnly(Rebinding(Arc::default()));
        let resolve = || resolver.resolve("example.com".parse().unwrap());
        let first: Vec<_> = resolve().await.unwrap().collect();
        assert_eq!(first, [SocketAddr::from(([8, 8, 8, 8], 0))]);
        let second = resolve().await.err().unwrap();
        assert!(second.is::<NoPublicAddress>(), "{second}");
    }

    #[tokio::test]
    async fn keeps_only_public_addresses() {
        #[derive(Clone)]
        struct Both;
        impl Lookup for Both {
            async fn lookup(&self, _host: String) -> io::Result<Vec<SocketAddr>> {
                Ok(vec![([10, 0, 0, 1], 0).into(), ([1, 1, 1, 1], 0).into()])
            }
        }
        let public: Vec<_> = PublicOnly(Both)
            .resolve("x".parse().unwrap())
            .await
            .unwrap()
            .collect();
        assert_eq!(public, [SocketAddr::from(([1, 1, 1, 1], 0))]);
    }

    #[tokio::test]
    async fn does_not_connect_to_private_server_by_name() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/mcp", listener.local_addr().unwrap().port());
        let client = client(&url, &[], false, SECOND).unwrap();
        let error = client.get(&url).send().await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        let connection = futures::FutureExt::now_or_never(listener.accept());
        assert!(connection.is_none(), "the client has connected");
    }
}
