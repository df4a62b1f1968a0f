//! The request as it leaves: conditions on what is stored, then the vendor's key or
//! token; and what the answer says about that.

use http::{Request, Response, StatusCode, Uri};

use super::fault::Fault;
use super::fetch::RequestBody;
use super::keys::{self, Chosen};
use super::wish::Wish;
use super::{Lane, ahead};
use crate::cache::{Entry, Now};
use crate::clock::UnixTime;
use crate::config::KeyValue;
use crate::dialect::Signed;
use crate::secret::Secret;
use crate::upstream::UpstreamBody;

/// The error of an API is small; more of it is not looked at.
const MAX_PEEK_BYTES: usize = 4 * 1024;

/// What a request was signed with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature {
    chosen: Chosen,
    /// The token's, if the key was exchanged for one.
    serial: Option<u64>,
}

impl Wish {
    /// The request with conditions on what is stored and the key in its place, and
    /// which key that is.
    pub(super) fn signed(
        &self,
        stale: Option<&Entry>,
        now: UnixTime,
        body: RequestBody,
    ) -> Result<(Request<RequestBody>, Option<Signature>), Fault> {
        let mut headers = self.sent().clone();
        // A condition on a POST would be the origin's to refuse (RFC 9110, section 13.1.2).
        if let Some(stale) = stale.filter(|_| self.body.is_none()) {
            stale.condition(&mut headers);
        }
        let dialect = &self.lane.config.dialect;
        let (mut signed, mut signature, mut body) = (Signed::InHeader, None, body);
        if let Some(key) = self.vendor_key {
            let (chosen, value) = self.lane.keys.choose(key, now).ok_or(Fault::Key)?;
            let token = match dialect.oauth() {
                None => None,
                Some(_) => Some(self.lane.tokens.current(chosen).ok_or(Fault::TokenGone)?),
            };
            let key = token.as_ref().map_or_else(|| self.key_of(value), |token| &token.access);
            signed = dialect.sign(&mut headers, &self.target, self.place, key).map_err(|_| Fault::Key)?;
            if let Signed::InBody(place) = signed {
                let rest = self.body.as_deref().unwrap_or_default();
                body = ahead::full(dialect.body_with_key(place, rest, key).map_err(|_| Fault::Key)?);
            }
            signature = Some(Signature { chosen, serial: token.map(|token| token.serial) });
        }
        let mut request = Request::new(body);
        *request.uri_mut() = match signed {
            Signed::InHeader | Signed::InBody(_) => Uri::from(self.target.path_and_query()),
            Signed::InQuery(query) => {
                let text = format!("{}?{}", self.target.path(), query.expose());
                text.parse().map_err(|_| Fault::Key)?
            }
        };
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = headers;
        Ok((request, signature))
    }

    /// What of a key's value is sent with this request.
    fn key_of<'v>(&self, value: &'v KeyValue) -> &'v Secret {
        let is_v1 = self.lane.config.dialect.is_v1(self.target.path());
        value.value_v1.as_ref().filter(|_| is_v1).unwrap_or(&value.value)
    }
}

impl Lane {
    /// Whether an answer refuses what the request was signed with, and there is, or can
    /// be had, something else to sign it with.
    pub(super) async fn refuses(
        &self,
        signature: Option<Signature>,
        response: &mut Response<UpstreamBody>,
        received: Now,
    ) -> bool {
        let Some(Signature { chosen, serial }) = signature else { return false };
        let Some(serial) = serial else {
            // A weir's 403 is about the path, never about the token.
            let elsewhere = self.relays() && response.status() == StatusCode::FORBIDDEN;
            return !elsewhere
                && keys::is_about_the_key(response.status(), response.headers())
                && self.keys.refuse(chosen, received.wall);
        };
        self.refuses_token(response).await && self.tokens.refuse(chosen, serial, received.at)
    }

    /// A 401, or an error whose body says that the token has expired. A CDN's page says
    /// nothing about it.
    async fn refuses_token(&self, response: &mut Response<UpstreamBody>) -> bool {
        let (status, is_page) = (response.status(), keys::is_page(response.headers()));
        if is_page || !(status.is_client_error() || status.is_server_error()) {
            return false;
        }
        if status == StatusCode::UNAUTHORIZED {
            return true;
        }
        let Some(oauth) = self.config.dialect.oauth() else { return false };
        oauth.says_expired(&response.body_mut().peek(MAX_PEEK_BYTES).await)
    }
}
