//! Accepts connections, serves them, drains them. HTTP/1.1 and HTTP/2 on one port.
//!
//! Every wait on a client has an end: for its first byte, its headers, its body (`layer::authenticate`), its next
//! request, and for taking what we send.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{Instant, Sleep, sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    exchange::{Body, Peer, Reply, Request},
    ops::Phase,
};
use crate::telemetry::{Connection, Listener};

/// How long the server waits for clients, and how many it takes.
#[derive(Debug, Clone)]
pub struct Patience {
    pub header_bytes: usize,
    pub header_timeout: Duration,
    /// For the first byte of a connection, and for a client to take what was sent.
    pub idle_timeout: Duration,
    pub drain_timeout: Duration,
    pub max_connections: usize,
    pub max_h2_streams: u32,
}

/// Serves `listener` until the process drains, and the requests under way after that, as long as patience lasts.
pub async fn serve<A, F>(
    listener: TcpListener,
    kind: Listener,
    patience: Patience,
    trusts: impl Fn(SocketAddr) -> bool,
    mut phase: watch::Receiver<Phase>,
    answer: A,
) where
    A: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let http = Arc::new(http(&patience));
    let places = Arc::new(Semaphore::new(patience.max_connections));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            _ = phase.wait_for(|phase| *phase == Phase::Draining) => break,
        };
        let (stream, from, place) = accepted;
        let peer = Peer { address: from.ip(), trusted: trusts(from) };
        let (http, answer, watcher) = (http.clone(), answer.clone(), graceful.watcher());
        let idle = patience.idle_timeout;
        tokio::spawn(async move {
            let _place = place;
            let _open = Connection::opened(kind);
            // The builder which tells the HTTP versions apart waits for the first byte without end.
            match timeout(idle, stream.peek(&mut [0])).await {
                Ok(Ok(1..)) => {}
                _ => return,
            }
            let service = service_fn(move |request: http::Request<Incoming>| {
                let mut request = request.map(|body| Body::new(body.map_err(Into::into)));
                request.extensions_mut().insert(peer);
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let connection = http.serve_connection_with_upgrades(TokioIo::new(Impatient::new(stream, idle)), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                debug!(error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if timeout(patience.drain_timeout, graceful.shutdown()).await.is_err() {
        warn!("some requests did not finish in time and were cut off");
    }
}

fn http(patience: &Patience) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.header_timeout)
        .max_buf_size(patience.header_bytes.max(8192))
        .max_headers(100);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(patience.max_h2_streams)
        .max_header_list_size(u32::try_from(patience.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(patience.idle_timeout)
        .keep_alive_timeout(patience.idle_timeout);
    http
}

/// The next connection. Waits for a place first, so that the kernel's queue holds back what is too much.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<tokio::sync::OwnedSemaphorePermit>) {
    let place = places.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // Answers are written whole; waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                return (stream, from, place);
            }
            Err(error) => {
                // Out of descriptors, or the client is gone already: neither is a reason to stop.
                warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// A connection whose client must take what is sent, sooner or later: one that never reads would keep its answer in
/// memory for ever.
struct Impatient {
    stream: TcpStream,
    patience: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, stuck: None }
    }

    /// Lets progress through, and turns a wait which lasts too long into an error.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stuck = None;
            return progress;
        }
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bounded(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bounded(cx, progress)
    }
}
