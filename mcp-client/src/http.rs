//! The HTTP client of a server: to public addresses only, unless its operator wants otherwise, and never elsewhere.

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

/// Why there is no client.
#[derive(Debug, Error)]
pub(crate) enum BadHttp {
    /// The URL is none.
    #[error("url: must be an http or https URL with a host, without a user and a password in it")]
    Url,
    /// The URL names an address that is not public.
    #[error("url: {0} is not a public address; allow_private = true allows it")]
    Private(IpAddr),
    /// A header's value is none.
    #[error("headers.{0}: what the variable holds can't be the value of a header")]
    Header(String),
    /// As reqwest says.
    #[error("url: {0}")]
    Client(#[from] reqwest::Error),
}

/// A client for one server.
///
/// No redirect is followed: the request would go, with its headers, where nobody has sent it. No proxy is used: it would
/// resolve names by itself. No connection is kept: one that the server closes at the moment of a call would leave the
/// call's outcome unknown.
pub(crate) fn client(
    url: &str,
    headers: &[(String, Secret)],
    allow_private: bool,
    connect_timeout: Duration,
) -> Result<Client, BadHttp> {
    check(url, allow_private)?;
    let mut sent = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let bad = || BadHttp::Header(name.clone());
        let Ok(key) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(bad());
        };
        let Ok(mut value) = HeaderValue::from_str(value.reveal()) else {
            return Err(bad());
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

/// An address in place of a name is resolved by nobody, so it is looked at here.
fn check(url: &str, allow_private: bool) -> Result<(), BadHttp> {
    let Ok(url) = Url::parse(url) else {
        return Err(BadHttp::Url);
    };
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or(BadHttp::Url)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadHttp::Url);
    }
    match host.trim_matches(['[', ']']).parse() {
        Ok(address) if !allow_private && !address::is_public(address) => Err(BadHttp::Private(address)),
        _ => Ok(()),
    }
}

/// Looks names up.
trait Lookup: Send + Sync + 'static {
    fn lookup(&self, host: String) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// As the system does.
#[derive(Clone, Debug)]
struct System;

impl Lookup for System {
    async fn lookup(&self, host: String) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.collect())
    }
}

/// Gives the public addresses of a name and no others, each time that one is connected to: so a name that changes its
/// mind between two looks gains nothing.
#[derive(Debug)]
struct PublicOnly<L>(L);

/// A name has no address that may be connected to.
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

    fn refused(url: &str) -> Option<String> {
        client(url, &[], false, SECOND).err().map(|bad| bad.to_string())
    }

    #[test]
    fn a_url_with_a_private_address_is_refused_however_it_is_written() {
        for url in [
            "http://127.0.0.1/mcp",
            "http://2130706433/",
            "http://0x7f.1:8080/",
            "http://[::1]/",
            "http://[::ffff:169.254.169.254]/latest",
            "http://10.1.2.3",
            "http://0/",
        ] {
            let why = refused(url).unwrap_or_default();
            assert!(why.contains("is not a public address"), "{url}: {why}");
            assert!(client(url, &[], true, SECOND).is_ok(), "{url}");
        }
        for url in [
            "http://",
            "https://user:secret@example.com/",
            "https://user@example.com/",
        ] {
            let why = refused(url).unwrap_or_default();
            assert!(why.starts_with("url: must be"), "{url}: {why}");
            assert!(!why.contains("secret"), "{why}");
        }
        assert_eq!(refused("https://example.com/mcp"), None);
    }

    #[test]
    fn a_headers_value_that_is_none_is_not_repeated() {
        let headers = [("Authorization".to_owned(), Secret::new("hunter2\n"))];
        let why = client("https://example.com", &headers, false, SECOND)
            .unwrap_err()
            .to_string();
        assert!(why.starts_with("headers.Authorization: "), "{why}");
        assert!(!why.contains("hunter2"), "{why}");
    }

    /// A name that is public at the first look and private from then on.
    #[derive(Clone)]
    struct Rebinding(Arc<AtomicUsize>);

    impl Lookup for Rebinding {
        async fn lookup(&self, _host: String) -> io::Result<Vec<SocketAddr>> {
            let looks = self.0.fetch_add(1, Ordering::Relaxed);
            Ok(vec![match looks {
                0 => ([8, 8, 8, 8], 0).into(),
                _ => ([127, 0, 0, 1], 0).into(),
            }])
        }
    }

    #[tokio::test]
    async fn a_name_that_turns_private_is_refused_from_then_on() {
        let resolver = PublicOnly(Rebinding(Arc::default()));
        let look = || resolver.resolve("example.com".parse().unwrap());
        let first: Vec<_> = look().await.unwrap().collect();
        assert_eq!(first, [SocketAddr::from(([8, 8, 8, 8], 0))]);
        let second = look().await.err().unwrap();
        assert!(second.is::<NoPublicAddress>(), "{second}");
    }

    #[tokio::test]
    async fn of_several_addresses_only_the_public_ones_are_left() {
        #[derive(Clone)]
        struct Both;
        impl Lookup for Both {
            async fn lookup(&self, _host: String) -> io::Result<Vec<SocketAddr>> {
                Ok(vec![([10, 0, 0, 1], 0).into(), ([1, 1, 1, 1], 0).into()])
            }
        }
        let left: Vec<_> = PublicOnly(Both)
            .resolve("x".parse().unwrap())
            .await
            .unwrap()
            .collect();
        assert_eq!(left, [SocketAddr::from(([1, 1, 1, 1], 0))]);
    }

    #[tokio::test]
    async fn a_private_server_behind_a_name_is_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/mcp", listener.local_addr().unwrap().port());
        let client = client(&url, &[], false, SECOND).unwrap();
        let error = client.get(&url).send().await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        let nobody = futures::FutureExt::now_or_never(listener.accept());
        assert!(nobody.is_none(), "somebody has connected");
    }
}
