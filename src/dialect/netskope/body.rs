//! A token in a form or JSON body: found, taken out, and the vendor's put in its place.

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::TOKEN;
use crate::dialect::{Editor, Edits, UnusableKey, form};
use crate::secret::Secret;

/// Where v1's token stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In the query.
    #[default]
    Query,
    /// In a form.
    Form,
    /// A member of a JSON object.
    Json,
}

/// A body without the token, and the token.
#[derive(Debug)]
pub struct Split {
    /// Where the token stood; [`Place::Query`] if it is not in the body.
    pub place: Place,
    /// The token, if there is one.
    pub token: Option<Secret>,
    /// What is left.
    pub rest: Bytes,
}

/// Whether a body of this type may hold a token. One that does not say is looked at too.
pub(in crate::dialect) fn may_hold_one(headers: &HeaderMap) -> bool {
    let essence = essence(headers);
    essence.is_none_or(|essence| essence == FORM || is_json(&essence))
}

const FORM: &str = "application/x-www-form-urlencoded";

fn essence(headers: &HeaderMap) -> Option<String> {
    let typed = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes)?;
    let essence = typed.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    Some(String::from_utf8_lossy(essence).to_ascii_lowercase())
}

fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// Takes the token out of a body. What is no JSON object, or no form, stays as it is.
pub(in crate::dialect) fn split(headers: &HeaderMap, body: Bytes) -> Split {
    let begins_object = body.trim_ascii_start().first() == Some(&b'{');
    let json = essence(headers).map_or(begins_object, |essence| is_json(&essence));
    if json { split_json(body) } else { split_form(body) }
}

fn split_form(body: Bytes) -> Split {
    if !form::pairs(&body).any(|(name, _)| name == TOKEN) {
        return Split { place: Place::Query, token: None, rest: body };
    }
    let token = form::only(&body, TOKEN).map(|token| Secret::new(token.into_owned()));
    Split { place: Place::Form, token, rest: form::without(&body, TOKEN).into() }
}

fn split_json(body: Bytes) -> Split {
    let mut editor = Editor::new(Edits { leave_out: Some(TOKEN), links: None });
    let mut rest = BytesMut::with_capacity(body.len());
    editor.push(&body, &mut rest);
    let observed = editor.finish(&mut rest);
    let removed = observed.removed.filter(|_| observed.wellformed);
    let Some(removed) = removed else { return Split { place: Place::Query, token: None, rest: body } };
    let token = serde_json::from_slice(&removed).ok().map(Secret::new);
    Split { place: Place::Json, token, rest: rest.freeze() }
}

/// The body with `key` as its token.
///
/// # Errors
/// A body that is no JSON object cannot hold one.
pub(in crate::dialect) fn joined(place: Place, rest: &[u8], key: &Secret) -> Result<Bytes, UnusableKey> {
    match place {
        Place::Query => Ok(Bytes::copy_from_slice(rest)),
        Place::Form => {
            let mut form = rest.to_vec();
            form::push(&mut form, TOKEN, key.expose());
            Ok(form.into())
        }
        Place::Json => {
            let open = rest.iter().position(|b| *b == b'{').ok_or(UnusableKey)?;
            let (before, after) = rest.split_at(open + 1);
            let is_empty = after.trim_ascii_start().first() == Some(&b'}');
            let value = Zeroizing::new(serde_json::Value::from(key.expose()).to_string());
            let comma: &[u8] = if is_empty { b"" } else { b"," };
            Ok([before, b"\"token\":", value.as_bytes(), comma, after].concat().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(value: Option<&'static str>) -> HeaderMap {
        value.map(|value| (CONTENT_TYPE, HeaderValue::from_static(value))).into_iter().collect()
    }

    #[test]
    fn the_token_is_swapped_where_it_stood() {
        const J: Option<&str> = Some("application/json; charset=utf-8");
        const F: Option<&str> = Some("application/x-www-form-urlencoded");
        for (kind, body, token, rest, sent) in [
            (J, r#"{"token":"w","a":1}"#, Some("w"), r#"{"a":1}"#, r#"{"token":"k\"","a":1}"#),
            (J, r#"{"a":1, "token" : "w"}"#, Some("w"), r#"{"a":1}"#, r#"{"token":"k\"","a":1}"#),
            (J, r#" { "token":"w" } "#, Some("w"), r#" { } "#, r#" {"token":"k\"" } "#),
            (
                J,
                r#"{"a":{"token":"deep"},"token":"w"}"#,
                Some("w"),
                r#"{"a":{"token":"deep"}}"#,
                r#"{"token":"k\"","a":{"token":"deep"}}"#,
            ),
            (J, r#"{"token":7}"#, None, "{}", r#"{"token":"k\""}"#),
            (J, r#"{"tok\u0065n":"w\u0021"}"#, Some("w!"), "{}", r#"{"token":"k\""}"#),
            (J, r#"[{"token":"w"}]"#, None, r#"[{"token":"w"}]"#, r#"[{"token":"w"}]"#),
            (J, r#"{"token":"w""#, None, r#"{"token":"w""#, r#"{"token":"w""#),
            (None, r#"{"token":"w"}"#, Some("w"), "{}", r#"{"token":"k\""}"#),
            (F, "a=1&token=w%2B&b=2", Some("w+"), "a=1&b=2", "a=1&b=2&token=k%22"),
            (F, "token=w", Some("w"), "", "token=k%22"),
            (F, "token=w&token=v", None, "", "token=k%22"),
            (None, "token=w", Some("w"), "", "token=k%22"),
            (F, "a=1", None, "a=1", "a=1"),
        ] {
            let split = split(&typed(kind), Bytes::from_static(body.as_bytes()));
            assert_eq!(split.token.as_ref().map(Secret::expose), token, "{body}");
            assert_eq!(std::str::from_utf8(&split.rest).unwrap().trim(), rest.trim(), "{body}");
            let key = Secret::new("k\"".into());
            let signed = joined(split.place, &split.rest, &key).unwrap();
            assert_eq!(std::str::from_utf8(&signed).unwrap().trim(), sent.trim(), "{body}");
        }
    }

    #[test]
    fn other_bodies_are_not_looked_into() {
        assert!(may_hold_one(&typed(None)) && may_hold_one(&typed(Some("Application/JSON"))));
        assert!(!may_hold_one(&typed(Some("multipart/form-data; boundary=x"))));
    }
}
