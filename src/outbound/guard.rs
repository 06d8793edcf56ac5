//! Where a client may go. What is judged is the address that a name leads to, and that very address is then connected
//! to: neither a clever spelling nor a name server which changes its mind leads inside.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tower::{BoxError, Service};

/// For the name and all of its addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For one address: a name may have one of a family which this network does not carry.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a client may go.
#[derive(Clone)]
pub enum Reach {
    /// Wherever the one at the keyboard says.
    Anywhere,
    /// Over TLS to public addresses; and to those of which `inside` says yes, also without TLS.
    Public { inside: Arc<dyn Fn(IpAddr) -> bool + Send + Sync> },
}

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error("the host leads to an address which is not public; `outbound.allow` names networks that may be reached")]
    Inside,
    #[error("only https leads outside; write https, or name the network in `outbound.allow`")]
    Plain,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anywhere => "Anywhere",
            Self::Public { .. } => "Public",
        })
    }
}

/// Opens TCP connections within a [`Reach`].
#[derive(Debug, Clone)]
pub(super) struct Connector(pub Reach);

impl Reach {
    /// May `address` be connected to? `plain` is without TLS.
    fn check(&self, address: IpAddr, plain: bool) -> Result<(), Forbidden> {
        match self {
            Self::Public { inside } if !inside(address) => match address.to_canonical() {
                address if !is_public(address) => Err(Forbidden::Inside),
                _ if plain => Err(Forbidden::Plain),
                _ => Ok(()),
            },
            Self::Public { .. } | Self::Anywhere => Ok(()),
        }
    }

    /// May any address be connected to which the host of `uri` has now?
    pub(super) async fn permits(&self, uri: &Uri) -> Result<(), Forbidden> {
        let (host, port, plain) = destination(uri);
        let mut outcome = Ok(());
        if let Ok(Ok(addresses)) = timeout(CONNECT_TIMEOUT, lookup_host((host, port))).await {
            for address in addresses {
                outcome = self.check(address.ip(), plain);
                if outcome.is_ok() {
                    break;
                }
            }
        }
        outcome
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let reach = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(timeout(CONNECT_TIMEOUT, connect(&reach, &uri)).await??)) })
    }
}

/// Host, port, and whether it is without TLS.
fn destination(uri: &Uri) -> (&str, u16, bool) {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let plain = uri.scheme_str() != Some("https");
    let port = uri.port_u16().unwrap_or(if plain { 80 } else { 443 });
    (host.strip_suffix('.').unwrap_or(host), port, plain)
}

async fn connect(reach: &Reach, uri: &Uri) -> Result<TcpStream, BoxError> {
    let (host, port, plain) = destination(uri);
    let mut failure: BoxError = io::Error::new(io::ErrorKind::NotFound, "the host has no address").into();
    for address in lookup_host((host, port)).await? {
        if let Err(forbidden) = reach.check(address.ip(), plain) {
            failure = forbidden.into();
            continue;
        }
        match timeout(ATTEMPT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failure = error.into(),
            Err(elapsed) => failure = elapsed.into(),
        }
    }
    Err(failure)
}

/// Is it an address of the internet, which every other host there may also connect to? What is not known to be one is
/// none (the special-purpose registries of IANA, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224.., ..]       // this network, private, loopback, multicast and reserved
            | [100, 64..128, ..]         // shared by carriers; metadata of some clouds
            | [169, 254, ..]             // link-local; metadata of most clouds
            | [172, 16..32, ..]          // private
            | [192, 0, 0 | 2, _]         // protocol assignments, documentation
            | [192, 88, 99, _]           // relays of 6to4
            | [192, 168, ..]             // private
            | [198, 18 | 19, ..]         // benchmarks
            | [198, 51, 100, _]          // documentation
            | [203, 0, 113, _]           // documentation
            | [168, 63, 129, 16] // metadata of Azure, public only by its number
    )
}

/// Global unicast is `2000::/3`: loopback, mapped, NAT64, unique-local, link-local and multicast lie outside of it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_special = match first {
        0x2001 => second < 0x200 || second == 0x0db8, // protocol assignments, Teredo among them; documentation
        0x2002 => true,                               // 6to4, which holds an IPv4 address of any kind
        0x3fff => second < 0x1000,                    // documentation
        _ => false,
    };
    first & 0xe000 == 0x2000 && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public() -> Reach {
        Reach::Public { inside: Arc::new(|_| false) }
    }

    fn check(address: &str) -> Result<(), Forbidden> {
        public().check(address.parse().unwrap(), false)
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:200::1",
            "::ffff:1.1.1.1",
        ] {
            assert_eq!(check(address), Ok(()), "{address}");
        }
    }

    #[test]
    fn everything_else_is_inside() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "168.63.129.16",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:7f00:1::",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "4000::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ffff::1",
        ] {
            assert_eq!(check(address), Err(Forbidden::Inside), "{address}");
        }
    }

    #[test]
    fn what_the_operator_names_is_reached_also_in_plain_text() {
        let reach = Reach::Public { inside: Arc::new(|address| address == Ipv4Addr::new(10, 0, 0, 1)) };
        assert_eq!(reach.check("10.0.0.1".parse().unwrap(), true), Ok(()));
        assert_eq!(reach.check("10.0.0.2".parse().unwrap(), false), Err(Forbidden::Inside));
        assert_eq!(reach.check("1.1.1.1".parse().unwrap(), true), Err(Forbidden::Plain));
        assert_eq!(Reach::Anywhere.check("10.0.0.2".parse().unwrap(), true), Ok(()));
    }
}
