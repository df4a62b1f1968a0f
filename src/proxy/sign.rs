//! The request as it leaves: conditions on what is stored, then the vendor's key.

use http::{Request, Uri};

use super::fetch::{Fault, RequestBody};
use super::keys::Chosen;
use super::wish::Wish;
use crate::cache::Entry;
use crate::clock::UnixTime;
use crate::config::KeyValue;
use crate::dialect::Signed;
use crate::secret::Secret;

impl Wish {
    /// The request with conditions on what is stored and the key in its place, and
    /// which key that is.
    pub(super) fn signed(
        &self,
        stale: Option<&Entry>,
        now: UnixTime,
        body: RequestBody,
    ) -> Result<(Request<RequestBody>, Option<Chosen>), Fault> {
        let mut headers = self.sent.clone();
        // A condition on a POST would be the origin's to refuse (RFC 9110, section 13.1.2).
        if let Some(stale) = stale.filter(|_| self.body.is_none()) {
            stale.condition(&mut headers);
        }
        let dialect = &self.lane.config.dialect;
        let (mut signed, mut chosen) = (Signed::InHeader, None);
        if let Some(key) = self.vendor_key {
            let (which, value) = self.lane.keys.choose(key, now).ok_or(Fault::Key)?;
            let key = self.key_of(value);
            signed = dialect.sign(&mut headers, &self.target, self.place, key).map_err(|_| Fault::Key)?;
            chosen = Some(which);
        }
        let mut request = Request::new(body);
        *request.uri_mut() = match signed {
            Signed::InHeader => Uri::from(self.target.path_and_query()),
            Signed::InQuery(query) => {
                let text = format!("{}?{}", self.target.path(), query.expose());
                text.parse().map_err(|_| Fault::Key)?
            }
            Signed::InBody(_) => return Err(Fault::Key),
        };
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = headers;
        Ok((request, chosen))
    }

    /// What of a key's value is sent with this request.
    fn key_of<'v>(&self, value: &'v KeyValue) -> &'v Secret {
        let is_v1 = self.lane.config.dialect.is_v1(self.target.path());
        value.value_v1.as_ref().filter(|_| is_v1).unwrap_or(&value.value)
    }
}
