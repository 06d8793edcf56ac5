//! The only way out: an HTTP client with a limit on time, on the size of answers, and on where it may go.
//!
//! Certificates are judged by the platform's own store. Redirects are never followed, and no proxy is taken from the
//! environment: a [`Reach`] is judged by the address that is connected to.

mod guard;

use std::{error::Error as _, io, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Collected, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, Client},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::crypto::aws_lc_rs;
use tokio::time::timeout;

use guard::Connector;
pub use guard::{Forbidden, Reach};

/// An HTTP client. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Outbound {
    client: Client<HttpsConnector<Connector>, Full<Bytes>>,
    reach: Reach,
    limits: Limits,
}

/// A body on its way.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    time: Duration,
}

impl Stream {
    /// The next part; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let frame = timeout(self.time, self.body.frame()).await.map_err(|_| Error::TimedOut(self.time))?;
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(data) = frame.map_err(|e| Error::Broken(e.into()))?.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

/// How long the rest of an answer is waited for of which only the head counts.
const REST: Duration = Duration::from_secs(1);

/// What one exchange may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the first byte out to the last byte in.
    pub time: Duration,
    /// Bytes of the answer's body.
    pub body: usize,
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this system has no certificates to check servers with")]
    Certificates(#[source] io::Error),
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("no connection")]
    Connect(#[source] legacy::Error),
    #[error("the exchange broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl Outbound {
    pub fn new(limits: Limits, reach: Reach) -> Result<Self, Error> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(aws_lc_rs::default_provider())
            .map_err(Error::Certificates)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector(reach.clone()));
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Self { client, reach, limits })
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
        let Limits { time, body } = self.limits;
        timeout(time, self.exchange(request, body)).await.map_err(|_| Error::TimedOut(time))?
    }

    /// Sends a request and answers as soon as there is a head, whatever its status. The body may have any length; the
    /// limit of time is for each part of it.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<Stream>, Error> {
        let time = self.limits.time;
        let response = timeout(time, self.client.request(request)).await.map_err(|_| Error::TimedOut(time))?;
        Ok(response.map_err(unsent)?.map(|body| Stream { body, time }))
    }

    /// Sends a request and answers the head of what comes back, whatever its status. The body is read as far as the limit
    /// goes, so that the connection can be used again; it is empty if that was not far enough.
    pub async fn knock(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
        let Limits { time, body: limit } = self.limits;
        let response = timeout(time, self.client.request(request)).await.map_err(|_| Error::TimedOut(time))?;
        let (head, body) = response.map_err(unsent)?.into_parts();
        let read = timeout(REST, Limited::new(body, limit).collect()).await;
        let body = read.ok().and_then(Result::ok).map(Collected::to_bytes).unwrap_or_default();
        Ok(Response::from_parts(head, body))
    }

    /// May `uri` be connected to, as far as can be told now? A name without an address may get one yet.
    pub async fn permits(&self, uri: &Uri) -> Result<(), Forbidden> {
        self.reach.permits(uri).await
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, limit: usize) -> Result<Response<Bytes>, Error> {
        let response = self.client.request(request).await.map_err(unsent)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limit)
            .collect()
            .await
            .map_err(|e| if e.is::<LengthLimitError>() { Error::TooLong(limit) } else { Error::Broken(e) })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

fn unsent(error: legacy::Error) -> Error {
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(forbidden) = source.downcast_ref::<Forbidden>() {
            return Error::Forbidden(*forbidden);
        }
        cause = source.source();
    }
    if error.is_connect() { Error::Connect(error) } else { Error::Broken(error.into()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// What becomes of a GET to a server which writes `answer` and then keeps silent.
    async fn get_from(answer: &'static str) -> Result<Response<Bytes>, Error> {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let _request = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        });
        let outbound = Outbound::new(Limits { time: Duration::from_millis(300), body: 8 }, Reach::Anywhere).unwrap();
        outbound.send(Request::get(url).body(Full::default()).unwrap()).await
    }

    #[tokio::test]
    async fn an_answer_comes_whole() {
        let response = get_from("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\ngone").await.unwrap();
        assert_eq!((response.status().as_u16(), response.body().as_ref()), (404, &b"gone"[..]));
    }

    #[tokio::test]
    async fn a_long_answer_is_cut_off() {
        let error = get_from("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123456789").await.unwrap_err();
        assert!(matches!(error, Error::TooLong(8)), "{error:?}");
    }

    #[tokio::test]
    async fn silence_has_an_end() {
        let error = get_from("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n1").await.unwrap_err();
        assert!(matches!(error, Error::TimedOut(_)), "{error:?}");
    }

    #[tokio::test]
    async fn nobody_listening_is_no_connection() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let outbound = Outbound::new(Limits { time: Duration::from_secs(5), body: 8 }, Reach::Anywhere).unwrap();
        let request = Request::get(format!("http://127.0.0.1:{port}/")).body(Full::default()).unwrap();
        assert!(matches!(outbound.send(request).await, Err(Error::Connect(_))));
    }

    /// Whatever a name is written like, the address behind it is what counts.
    #[tokio::test]
    async fn no_spelling_of_an_inside_address_is_connected_to() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let reach = Reach::Public { inside: Arc::new(|_| false) };
        let outbound = Outbound::new(Limits { time: Duration::from_secs(5), body: 8 }, reach).unwrap();
        for host in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "017700000001",
            "0x7f.1",
            "0",
            "0.0.0.0",
            "localhost",
            "LOCALHOST",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "user@127.0.0.1",
            "127.0.0.1:80@127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "[64:ff9b::7f00:1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
        ] {
            for scheme in ["http", "https"] {
                let Ok(request) = Request::get(format!("{scheme}://{host}:{port}/")).body(Full::default()) else {
                    continue;
                };
                let error = outbound.send(request).await.expect_err(host);
                let refused = matches!(error, Error::Forbidden(Forbidden::Inside));
                // A name that no certificate can hold ends before its address is asked for.
                assert!(
                    refused || (scheme == "https" && matches!(error, Error::Connect(_))),
                    "{scheme} {host}: {error:?}"
                );
            }
        }
        assert!(timeout(Duration::ZERO, server.accept()).await.is_err(), "somebody came through");
    }
}
