//! Request bodies that are read before they are sent on: those that may hold the
//! caller's credential, and small ones that may have to be sent a second time.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, LengthLimitError, Limited};
use tokio::time::timeout_at;

use super::call::Call;
use super::fetch::RequestBody;
use super::refusal::No;
use crate::clock::Clock;
use crate::dialect::{Place, Split};

/// The largest body that a credential is looked for in.
const MAX_CREDENTIAL_BODY_BYTES: usize = 1024 * 1024;

/// The longest that such a body may take to come.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// The largest body that is kept to be sent again, should the vendor refuse its token.
const MAX_REPEATABLE_BODY_BYTES: u64 = 64 * 1024;

impl Call {
    /// Takes the credential out of the body, where this dialect has it there; what is
    /// left to be streamed.
    pub(super) async fn read_credential(&mut self, body: RequestBody) -> Result<RequestBody, No> {
        let dialect = &self.lane.config.dialect;
        if !self.has_body || !dialect.may_sign_in_body(&self.method, &self.target, &self.headers) {
            return Ok(body);
        }
        let whole = read(body, MAX_CREDENTIAL_BODY_BYTES, self.lane.clock).await?;
        let Split { place, token, rest } = dialect.split_body(&self.headers, whole);
        (self.place, self.in_body) = (place, token);
        Ok(full(rest))
    }

    /// Reads a body that the vendor's credential goes into; and a small one where the
    /// vendor's token may turn out to be refused: that is proof that nothing was done,
    /// so the same may be sent again with another one.
    pub(super) async fn read_repeatable(&mut self, body: RequestBody) -> Result<RequestBody, No> {
        let is_small = length(&self.headers).is_some_and(|bytes| bytes <= MAX_REPEATABLE_BODY_BYTES);
        let may_be_refused = is_small && self.lane.config.dialect.oauth().is_some();
        if body.is_end_stream() || !(may_be_refused || self.place != Place::Query) {
            return Ok(body);
        }
        self.body = Some(read(body, MAX_CREDENTIAL_BODY_BYTES, self.lane.clock).await?);
        Ok(empty())
    }
}

/// A request body that is there already.
pub(super) fn full(bytes: Bytes) -> RequestBody {
    UnsyncBoxBody::new(Full::new(bytes).map_err(|never| match never {}))
}

/// None at all.
pub(super) fn empty() -> RequestBody {
    UnsyncBoxBody::new(Empty::new().map_err(|never| match never {}))
}

/// The whole of a body of at most `most` bytes. Bounded in time, since whoever sends it
/// may be a stranger yet.
pub(super) fn read(
    body: RequestBody,
    most: usize,
    clock: Clock,
) -> impl Future<Output = Result<Bytes, No>> + Send {
    let deadline = clock.instant(clock.now() + READ_WITHIN);
    timeout_at(deadline, Limited::new(body, most).collect()).map(|whole| match whole {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(No::TooLarge),
        Ok(Err(_)) => Err(No::Malformed("the request body broke off")),
        Err(_) => Err(No::Malformed("the request body did not arrive in time")),
    })
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
