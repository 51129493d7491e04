//! Where a request comes from, as far as it can be believed.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
};

use crate::state::App;

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// The address; of IPv6 the network, since one caller has all addresses of it.
    pub(crate) address: IpAddr,
    /// Whether the page was reached by https.
    pub(crate) secure: bool,
}

impl FromRequestParts<App> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
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
            &app.settings.http.trusted_proxies,
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
        // The nearest proxy appends to the right, so that is where belief begins.
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

/// An address, with or without a port.
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
    fn a_stranger_s_headers_are_not_believed() {
        let headers = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https")];
        assert_eq!(
            client("9.9.9.9", &headers, &["10.0.0.1"]),
            ("9.9.9.9".to_owned(), false)
        );
    }

    #[test]
    fn behind_proxies_it_is_the_right_most_address_that_is_not_one_of_them() {
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
    fn what_is_no_address_ends_belief() {
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
    fn the_addresses_of_one_ipv6_network_are_one_caller() {
        assert_eq!(client("2001:db8:1:2:3:4:5:6", &[], &[]).0, "2001:db8:1:2::");
    }
}
