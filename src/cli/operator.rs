//! Asks the operators' listener of a running weir, for `weir status` and `weir usage`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::output::{self, Failure};
use crate::secret::Secret;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Larger answers are not from a weir.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// Where the operators' listener is.
#[derive(Debug, clap::Args)]
pub(super) struct Operator {
    /// The operators' listener of a running weir.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090", env = "WEIR_ADMIN")]
    admin: String,
    /// File with the admin token; else it is taken from WEIR_ADMIN_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Operator {
    /// The body of `GET path`.
    pub(super) fn get(&self, path: &str, accept: &'static str) -> Result<Bytes, Failure> {
        let base = self.admin.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let uri: Uri = format!("{base}{path}")
            .parse()
            .map_err(|_| Failure::Usage(format!("weir: --admin {} is no URL", self.admin)))?;
        if uri.scheme_str() != Some("http") {
            return Err(Failure::Usage("weir: the operators' listener is asked by http://".into()));
        }
        let mut request = Request::get(uri).header(ACCEPT, accept);
        if let Some(token) = self.token()? {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| Failure::Usage("weir: the admin token cannot be sent in a header".into()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Full::<Bytes>::default()).context("the request cannot be made")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, body) =
            runtime.block_on(send(request)).with_context(|| format!("{base} cannot be asked"))?;
        if status.is_success() {
            return Ok(body);
        }
        let words = serde_json::from_slice::<serde_json::Value>(&body).ok();
        let words = words.and_then(|json| json["error"].as_str().map(str::to_owned));
        let words = words.unwrap_or_else(|| String::from_utf8_lossy(&body).trim().to_owned());
        let hint = if status == http::StatusCode::UNAUTHORIZED {
            "; set WEIR_ADMIN_TOKEN or --token-file"
        } else {
            ""
        };
        Err(Failure::Running(anyhow!("{base} answers {status}: {words}{hint}")))
    }

    fn token(&self) -> Result<Option<Secret>, Failure> {
        if let Some(file) = &self.token_file {
            let text = std::fs::read_to_string(file).map_err(|error| {
                Failure::Usage(format!("weir: {} cannot be read: {error}", file.display()))
            })?;
            return Ok(Some(Secret::new(text.trim_end().to_owned())));
        }
        let mut variables = output::environment();
        let token = variables.find(|(name, value)| name == "WEIR_ADMIN_TOKEN" && !value.is_empty());
        Ok(token.map(|(_, value)| Secret::new(value)))
    }
}

async fn send(request: Request<Full<Bytes>>) -> anyhow::Result<(http::StatusCode, Bytes)> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = async {
        let (head, body) = client.request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| anyhow!(error))?;
        anyhow::Ok((head.status, body.to_bytes()))
    };
    tokio::time::timeout(TIMEOUT, answer).await.context("no answer came in time")?
}

/// Rows in columns: the first left-aligned, the others right-aligned.
pub(super) fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([titles[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(&mut titles.iter().copied());
    let rows = rows.iter().map(|row| line(&mut row.iter().map(String::as_str)));
    std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [vec!["grafana".to_owned(), "7".to_owned()], vec!["b".to_owned(), "1234".to_owned()]];
        assert_eq!(table(&["who", "paid"], &rows), "who      paid\ngrafana     7\nb        1234");
    }
}
