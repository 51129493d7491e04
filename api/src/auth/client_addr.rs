//! The address of the client, from the connection or from the headers of trusted proxies.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, FromRef, FromRequestParts},
    http::{HeaderMap, request::Parts},
};

/// The client that sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// The IPv4 address or the IPv6 /64 network, because a client usually has a whole network.
    pub(crate) address: IpAddr,
    /// Whether the client used HTTPS.
    pub(crate) secure: bool,
}

impl<S> FromRequestParts<S> for Client
where
    S: Send + Sync,
    Arc<[IpAddr]>: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| {
                info.0.ip().to_canonical()
            });
        let direct = parts.uri.scheme_str() == Some("https");
        Ok(Self::new(
            peer,
            direct,
            &parts.headers,
            &Arc::<[IpAddr]>::from_ref(state),
        ))
    }
}

impl Client {
    fn new(peer: IpAddr, direct_https: bool, headers: &HeaderMap, trusted: &[IpAddr]) -> Self {
        if !trusted.contains(&peer) {
            return Self {
                address: network(peer),
                secure: direct_https,
            };
        }
        // Each proxy appends to the right, so the list is read from there until an address is not a trusted proxy.
        let mut address = peer;
        for hop in values(headers, "x-forwarded-for").rev() {
            let Some(hop) = parse(hop) else { break };
            address = hop;
            if !trusted.contains(&hop) {
                break;
            }
        }
        let forwarded_https = values(headers, "x-forwarded-proto")
            .next_back()
            .is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        Self {
            address: network(address),
            secure: direct_https || forwarded_https,
        }
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &'static str) -> impl DoubleEndedIterator<Item = &'a str> {
    let lines: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .collect();
    lines.into_iter().flat_map(|line| line.split(',')).map(str::trim)
}

/// Parses an address with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|address| address.to_canonical())
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)], trusted: &[&str]) -> (String, bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted: Vec<IpAddr> = trusted.iter().map(|address| address.parse().unwrap()).collect();
        let client = Client::new(peer.parse().unwrap(), false, &map, &trusted);
        (client.address.to_string(), client.secure)
    }

    #[test]
    fn headers_of_an_untrusted_peer_are_ignored() {
        let headers = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https")];
        assert_eq!(
            client("9.9.9.9", &headers, &["10.0.0.1"]),
            ("9.9.9.9".to_owned(), false)
        );
    }

    #[test]
    fn rightmost_address_that_is_not_a_trusted_proxy_is_used() {
        let headers = [
            ("x-forwarded-for", "6.6.6.6, 1.2.3.4"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(
            client("10.0.0.1", &headers, &["10.0.0.1", "10.0.0.2"]),
            ("1.2.3.4".to_owned(), true)
        );
        assert_eq!(
            client("10.0.0.1", &headers, &["10.0.0.1"]),
            ("10.0.0.2".to_owned(), true)
        );
    }

    #[test]
    fn invalid_address_ends_the_search() {
        let headers = [("x-forwarded-for", "6.6.6.6, unknown")];
        assert_eq!(
            client("10.0.0.1", &headers, &["10.0.0.1"]),
            ("10.0.0.1".to_owned(), false)
        );
        assert_eq!(
            client("10.0.0.1", &[], &["10.0.0.1"]),
            ("10.0.0.1".to_owned(), false)
        );
        let headers = [("x-forwarded-for", "1.2.3.4:5678")];
        assert_eq!(
            client("10.0.0.1", &headers, &["10.0.0.1"]),
            ("1.2.3.4".to_owned(), false)
        );
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        assert_eq!(client("2001:db8:1:2:3:4:5:6", &[], &[]).0, "2001:db8:1:2::");
    }
}
