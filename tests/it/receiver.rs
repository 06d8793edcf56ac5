//! An endpoint for webhooks which the test itself runs on loopback: it remembers what it was sent, and answers as told.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, timeout_at},
};

/// Ends with the test.
pub struct Receiver {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// The next answers; 200 when there are none.
    script: Mutex<VecDeque<Answer>>,
    received: watch::Sender<Vec<Received>>,
}

/// How one request is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    Status(u16),
    /// With one header.
    With(u16, &'static str, String),
    /// With this body.
    Body(u16, String),
    /// Never.
    Silence,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Received {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Receiver {
    pub async fn start() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("http://{}/hooks?from=realmgate", server.local_addr().expect("it is bound"));
        let shared = Arc::new(Shared { script: Mutex::default(), received: watch::Sender::default() });
        let answering = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = server.accept().await {
                let shared = answering.clone();
                let service = service_fn(move |request| answer(request, shared.clone()));
                // Errors are the client's to see.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, shared }
    }

    /// Answers the next requests so.
    pub fn will_answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.script.lock().unwrap_or_else(PoisonError::into_inner).extend(answers);
    }

    /// What came so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.borrow().clone()
    }

    /// Waits until so many requests have come, and gives all that have.
    pub async fn after(&self, requests: usize) -> Vec<Received> {
        let mut received = self.shared.received.subscribe();
        let end = Instant::now() + Duration::from_secs(60);
        let came = timeout_at(end, received.wait_for(|received| received.len() >= requests)).await.map(drop);
        assert!(came.is_ok(), "{} of {requests} requests came", self.received().len());
        self.received()
    }
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ours are ASCII"))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("an event is JSON")
    }

    pub fn seq(&self) -> i64 {
        self.json()["seq"].as_i64().expect("an event has its place")
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return std::future::pending().await };
    let received = Received { headers: head.headers, body: body.to_bytes() };
    let answer = shared.script.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    shared.received.send_modify(|all| all.push(received));
    let unseen = || "an answer which nobody is shown".to_owned();
    let (response, body) = match answer.unwrap_or(Answer::Status(200)) {
        Answer::Status(status) => (Response::builder().status(status), unseen()),
        Answer::With(status, name, value) => (Response::builder().status(status).header(name, value), unseen()),
        Answer::Body(status, body) => (Response::builder().status(status), body),
        Answer::Silence => return std::future::pending().await,
    };
    Ok(response.body(body.into()).expect("the test wrote it"))
}
