//! Whoever asks, and what it got.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::BoxError;

/// What a caller got.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A caller with its own connections.
#[derive(Clone)]
pub(crate) struct Caller {
    base: String,
    token: Option<String>,
    client: HyperClient<HttpConnector, Full<Bytes>>,
}

impl Caller {
    /// Of any server; `base` without a trailing slash.
    pub(crate) fn at(base: String, token: Option<String>) -> Self {
        let client = HyperClient::builder(TokioExecutor::new()).build_http();
        Self { base, token, client }
    }

    /// Where it asks.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The same caller by HTTP/2 without TLS, by prior knowledge.
    pub(crate) fn http2(&self) -> Self {
        let client = HyperClient::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { client, ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, &[], "").await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.ask(Method::GET, path, headers, "").await
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        self.send(request).await.unwrap()
    }

    /// The same as [`Caller::get`] where an answer may break off: `None`.
    pub(crate) async fn try_get(&self, path: &str) -> Option<Reply> {
        let request = Request::get(format!("{}{path}", self.base));
        let request = request.header("authorization", format!("Bearer {}", self.token.as_deref()?));
        self.send(request.body(Full::default()).unwrap()).await.ok()
    }

    /// What an operator does: a POST of JSON.
    pub(crate) async fn post_json(&self, path: &str, body: &str) -> Reply {
        self.ask(Method::POST, path, &[("content-type", "application/json")], body).await
    }

    /// Any request, as it is; an error if no whole answer comes.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply, BoxError> {
        let (head, body) = self.client.request(request).await?.into_parts();
        Ok(Reply { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    }
}

impl Reply {
    /// A header as text; empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn price(&self) -> u32 {
        self.header("weir-price").parse().unwrap()
    }

    /// What is left of a limit, as `RateLimit` tells this caller.
    pub(crate) fn remaining(&self, limit: &str) -> u32 {
        let items = self.header("ratelimit").split(", ");
        let own = items.filter_map(|item| item.strip_prefix(&format!("\"{limit}\";r="))).next();
        let number = own.and_then(|own| own.split(';').next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {limit} in {:?}", self.header("ratelimit")))
    }

    /// What the first of the envelope's errors says.
    pub(crate) fn error(&self) -> String {
        let body = self.json();
        let message = body["errors"][0]["message"].as_str();
        message.unwrap_or_else(|| panic!("no envelope: {body}")).to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }
}
