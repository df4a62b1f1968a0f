//! Header fields of a stored answer, which point into nothing but their own block.

use std::borrow::Cow;

use bytes::BytesMut;
use http::StatusCode;
use http::header::{DATE, HeaderMap, HeaderName, HeaderValue, VARY};

use super::date::ImfDate;
use super::known::{KNOWN, Number};
use super::{SHARED_BYTES, allocated};
use crate::cache::answer::names_coding;
use crate::cache::coding;

/// The fields of a stored answer, those of one name in their order.
pub(in crate::cache) struct Fields {
    /// [`KNOWN`] lines: so many of them.
    known: [Number; MAX_KNOWN],
    known_len: u8,
    date: Option<ImfDate>,
    rest: Option<Box<Rest>>,
    /// Whether a 200 with these may be given in other codings: every hit asks.
    pub(in crate::cache) is_codable: bool,
    /// Whether they say that they vary by the coding that is asked for.
    pub(in crate::cache) vary_by_coding: bool,
}

/// Lines that are not known.
#[derive(Default)]
struct Rest {
    /// Under known names.
    own: Box<[(&'static HeaderName, HeaderValue)]>,
    /// Under others, since all numbers are given away.
    spelt: Box<[(HeaderName, HeaderValue)]>,
}

/// Most answers have no more of them; others keep the rest as their own.
const MAX_KNOWN: usize = 8;

/// `Date`, `Age`, `Content-Length`, `Vary`, `Cache-Status`, price, id, two of limits.
const ADDED_FIELDS: usize = 9;

impl Fields {
    /// Copies the fields out of wherever they are.
    pub(in crate::cache) fn copied(fields: &[(&HeaderName, &HeaderValue)]) -> Self {
        let (mut known, mut known_len) = ([0; MAX_KNOWN], 0);
        let (mut date, mut own, mut spelt) = (None, Vec::new(), Vec::new());
        for &(name, value) in fields {
            // Lines of one name stay together, or their order would be lost.
            let is_only = fields.iter().filter(|(is, _)| *is == name).count() == 1;
            if *name == DATE && is_only {
                date = ImfDate::of(value);
                if date.is_some() {
                    continue;
                }
            }
            match KNOWN.number(name, value).filter(|_| is_only && known_len < MAX_KNOWN) {
                Some(number) => {
                    known[known_len] = number;
                    known_len += 1;
                }
                None => match KNOWN.name(name) {
                    Some(name) => own.push((name, value)),
                    None => spelt.push((name.clone(), value)),
                },
            }
        }
        let values: Vec<_> =
            own.iter().map(|(_, value)| *value).chain(spelt.iter().map(|(_, value)| *value)).collect();
        let mut values = in_one_block(&values);
        let rest = Rest {
            own: own.into_iter().zip(values.by_ref()).map(|((name, _), value)| (name, value)).collect(),
            spelt: spelt.into_iter().zip(values).map(|((name, _), value)| (name, value)).collect(),
        };
        Self {
            known,
            known_len: u8::try_from(known_len).unwrap_or_default(),
            date,
            rest: (!rest.own.is_empty() || !rest.spelt.is_empty()).then(|| Box::new(rest)),
            is_codable: coding::is_codable(StatusCode::OK, fields.iter().copied()),
            vary_by_coding: fields.iter().any(|(name, value)| **name == VARY && names_coding(value)),
        }
    }

    pub(in crate::cache) fn first(&self, name: &HeaderName) -> Option<Cow<'_, HeaderValue>> {
        self.iter().find(|(is, _)| *is == name).map(|(_, value)| value)
    }

    pub(in crate::cache) fn iter(&self) -> impl Iterator<Item = (&HeaderName, Cow<'_, HeaderValue>)> {
        let own = self.own().iter().map(|(name, value)| (*name, value));
        let spelt = self.spelt().iter().map(|(name, value)| (name, value));
        let kept = self.known().chain(own).chain(spelt);
        // Last, so that who looks for another does not have it spelt.
        let date = self.date.iter().map(|date| (&DATE, Cow::Owned(date.value())));
        kept.map(|(name, value)| (name, Cow::Borrowed(value))).chain(date)
    }

    pub(in crate::cache) fn to_map(&self) -> HeaderMap {
        // As many more as every answer adds: a map that grows is built twice.
        let mut map = HeaderMap::with_capacity(usize::from(self.known_len) + self.own().len() + ADDED_FIELDS);
        if let Some(date) = self.date {
            map.append(DATE, date.value());
        }
        // One after another: every hit is here, and a chain asks at each step where it is.
        let mut add = |(name, value): (&HeaderName, &HeaderValue)| {
            map.append(name.clone(), value.clone());
        };
        self.known().for_each(&mut add);
        self.own().iter().for_each(|(name, value)| add((name, value)));
        self.spelt().iter().for_each(|(name, value)| add((name, value)));
        map
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        let names: usize = self.spelt().iter().map(|(name, _)| name.as_str().len()).sum();
        let rest = self.rest.as_ref().map_or(0, |_| size_of::<Rest>());
        let lists = rest + allocated(size_of_val(self.own())) + allocated(size_of_val(self.spelt()));
        let values =
            self.own().iter().map(|(_, value)| value).chain(self.spelt().iter().map(|(_, value)| value));
        let block = values.map(HeaderValue::len).sum();
        lists + names + if block > 0 { allocated(block) + SHARED_BYTES } else { 0 }
    }

    fn known(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> + Clone {
        let numbers = self.known[..usize::from(self.known_len)].iter();
        numbers.map(|number| KNOWN.line(*number)).map(|(name, value)| (name, value))
    }

    fn own(&self) -> &[(&'static HeaderName, HeaderValue)] {
        self.rest.as_ref().map_or(&[], |rest| &rest.own)
    }

    fn spelt(&self) -> &[(HeaderName, HeaderValue)] {
        self.rest.as_ref().map_or(&[], |rest| &rest.spelt)
    }
}

fn in_one_block(values: &[&HeaderValue]) -> impl Iterator<Item = HeaderValue> {
    let mut block = BytesMut::with_capacity(values.iter().map(|value| value.len()).sum());
    values.iter().for_each(|value| block.extend_from_slice(value.as_bytes()));
    let mut rest = block.freeze();
    let parts: Vec<_> = values.iter().map(|value| (value.len(), value.is_sensitive())).collect();
    parts.into_iter().map(move |(len, is_sensitive)| {
        // Not split where nothing is left: one who has it alone need not be counted.
        let bytes = if len == rest.len() { std::mem::take(&mut rest) } else { rest.split_to(len) };
        let mut copy = HeaderValue::from_maybe_shared(bytes).expect("the bytes were a header value before");
        copy.set_sensitive(is_sensitive);
        copy
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_points_into_the_read_buffer() {
        let read_buffer = Bytes::from(vec![b'x'; 100_000]);
        let value = HeaderValue::from_maybe_shared(read_buffer.slice(10..20)).unwrap();
        let names = [HeaderName::from_static("x-a"), HeaderName::from_static("x-b")];
        let of = [(&names[0], &value), (&names[1], &value)];
        // The second and the third time they are known.
        let all = [(); 3].map(|()| Fields::copied(&of));
        drop(value);
        assert!(read_buffer.is_unique());
        for fields in all {
            assert_eq!(fields.to_map().len(), 2);
            assert_eq!(*fields.first(&names[1]).unwrap(), "xxxxxxxxxx");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// What is stored comes back, the lines of one name in their order, known or not.
        #[test]
        fn fields_come_back(
            lines in proptest::collection::vec(
                ("(date|etag|vary|x-[a-e]{1,2}|x-[a-z]{250,300})", "[ -~]{0,4}|[a-z]{200,300}|Sun, 06 Nov 1994 08:49:3[0-9] GMT", any::<bool>()), 0..14),
        ) {
            let lines: Vec<_> = lines.iter().map(|(name, value, is_sensitive)| {
                let mut value = HeaderValue::from_str(value.trim()).unwrap();
                value.set_sensitive(*is_sensitive);
                (HeaderName::try_from(name.as_str()).unwrap(), value)
            }).collect();
            let given: Vec<_> = lines.iter().map(|(name, value)| (name, value)).collect();
            let by_name = |lines: &[(HeaderName, HeaderValue)]| {
                let mut lines: Vec<_> =
                    lines.iter().map(|(name, value)| (name.clone(), value.clone(), value.is_sensitive())).collect();
                lines.sort_by(|(one, ..), (other, ..)| one.as_str().cmp(other.as_str()));
                lines
            };
            for _ in 0..3 {
                let fields = Fields::copied(&given);
                let back: Vec<_> = fields.iter().map(|(name, value)| (name.clone(), value.into_owned())).collect();
                prop_assert_eq!(by_name(&back), by_name(&lines));
                prop_assert_eq!(fields.to_map().len(), lines.len());
            }
        }
    }
}
