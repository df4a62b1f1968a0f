//! Tokens for consumers whose clients sign in with id and secret: weir is the token
//! endpoint itself, and knows its own tokens again. Costs nothing of the allowance.
//!
//! A consumer's id is its name, its secret is its weir token. With PrivX's `password`
//! grant they stand in `username` and `password`, or in Basic; whichever pair proves
//! a consumer counts.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::{HeaderValue, Method, Response};

use super::body::Body;
use super::call::Call;
use super::exchange::{Answer, Exchange};
use super::fetch::RequestBody;
use super::refusal::No;
use super::table::Table;
use super::{Lane, ahead};
use crate::consumer::{ConsumerIx, Peer, SignIn};
use crate::dialect::OAuth;
use crate::dialect::oauth::{Asked, GrantError};
use crate::telemetry::Outcome;
use crate::token::{Bond, Claim, Issuer, Kind, NotGood};

/// A form with an id and a secret is small.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// How much longer a refresh token is valid than the token it came with.
const REFRESH_FACTOR: u32 = 12;

impl Table {
    /// Answers a request for a token.
    pub(super) async fn issue(
        &self,
        exchange: &mut Exchange,
        (oauth, call): (OAuth, &Call),
        body: RequestBody,
        peer: Peer<'_>,
    ) -> Result<Answer, No> {
        exchange.asks_token_of(oauth);
        if call.method != Method::POST {
            return Err(No::Method);
        }
        let form = ahead::read(body, MAX_FORM_BYTES, self.clock).await?;
        let known = match oauth.asked(&call.headers, &form).map_err(No::Grant)? {
            Asked::Credentials(pairs) => self.consumers.sign_in(&pairs, peer).map_err(No::SignIn)?,
            Asked::Refresh(token) => self
                .by_issued(&call.lane, token.expose().as_bytes(), Kind::Refresh, peer)
                .unwrap_or_else(|| self.consumers.identify(Some(b""), peer))
                .map_err(|why| {
                    if why == SignIn::Unknown { No::Grant(GrantError::Grant) } else { No::SignIn(why) }
                })?,
        };
        let caller = self.caller(call, known, self.clock.now())?;
        exchange.identified(&caller, &self.consumers.config(known).name);
        self.admit_inbound(&caller)?;
        let issuer = self.issuer.as_ref().ok_or(No::Abandoned)?;
        let lifetime = call.lane.config.token_ttl;
        let token = |kind, lifetime: Duration| {
            let name = self.consumers.config(known).name.as_str();
            issuer.issue(kind, name, self.bond(&call.lane, known), (self.clock.wall(), lifetime))
        };
        let refresh = oauth.refreshes().then(|| token(Kind::Refresh, lifetime * REFRESH_FACTOR));
        let body = oauth.answer(&token(Kind::Access, lifetime), lifetime, refresh.as_ref());
        let mut response = Response::new(Body::from(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // RFC 6749, section 5.1.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        Ok(Answer::of(response, Outcome::Issued))
    }

    /// Who presents a token that weir issued for this upstream; none if it is no such
    /// token. One that is forged is nobody's, and counts as any wrong credential.
    pub(super) fn by_issued(
        &self,
        lane: &Lane,
        presented: &[u8],
        kind: Kind,
        peer: Peer<'_>,
    ) -> Option<Result<ConsumerIx, SignIn>> {
        lane.config.dialect.oauth()?;
        let issuer: &Issuer = self.issuer.as_deref()?;
        let claim = Claim::read(presented)?;
        let known = self.consumers.named(claim.consumer())?;
        match issuer.check(&claim, kind, self.bond(lane, known), self.clock.wall()) {
            Ok(()) => Some(self.consumers.proven(known, peer)),
            Err(NotGood::Expired) => Some(Err(SignIn::Expired)),
            Err(NotGood::Forged) => None,
        }
    }

    fn bond<'a>(&self, lane: &'a Lane, consumer: ConsumerIx) -> Bond<'a> {
        let hash = self.consumers.config(consumer).proof.token;
        Bond { upstream: lane.config.name.as_str(), hash }
    }
}
