//! Vendor keys and their days left; never a value.

use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::KeyHealth;
use crate::clock::UnixTime;

/// One vendor key; its values are valid side by side.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyStatus {
    name: String,
    /// Whole days of each value; null if it has no date.
    days_left: Vec<Option<u64>>,
    values: Vec<KeyValueStatus>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyValueStatus {
    /// RFC 3339: the first moment at which it is no longer valid.
    expires: Option<String>,
    days_left: Option<u64>,
    /// The vendor has refused it.
    is_refused: bool,
    /// It is the one that is sent.
    is_in_use: bool,
}

pub(super) fn keys(states: &[KeyHealth], now: UnixTime) -> Vec<KeyStatus> {
    let mut keys: Vec<KeyStatus> = Vec::new();
    for state in states {
        let days_left = state.expires.map(|end| end.since(now).as_secs() / 86_400);
        let value = KeyValueStatus {
            expires: state.expires.map(|end| end.to_string()),
            days_left,
            is_refused: state.is_refused,
            is_in_use: state.is_in_use,
        };
        match keys.last_mut().filter(|key| key.name == state.name) {
            Some(key) => {
                key.days_left.push(days_left);
                key.values.push(value);
            }
            None => keys.push(KeyStatus {
                name: state.name.clone(),
                days_left: vec![days_left],
                values: vec![value],
            }),
        }
    }
    keys
}
