//! Keys whose value is one of a few words.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::mistake::Walk;
use super::read::{Read, word};
use super::scalar::schema_of;
use super::tree::Node;
use super::{ClientAuth, ClientCacheControl, Mode, OnEmpty};
use crate::quota::{Pace, Scope};

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident($inner:ty) { $($word:literal => $value:expr,)+ })*) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name(pub(super) $inner);

        impl Read for $name {
            fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
                word(node, &[$(($word, $value)),+], walk).map(Self)
            }
        }

        schema_of!($name, { "enum": [$($word),+] });
    )*};
}

/// How a limit's window lies in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowKind {
    Sliding,
    Calendar,
}

words! {
    /// Whether the budget is enforced.
    ModeWord(Mode) {
        "enforce" => Mode::Enforce,
        "observe" => Mode::Observe,
    }
    /// How charges are spread.
    PaceWord(Pace) {
        "exact" => Pace::Exact,
        "even" => Pace::Even,
        "auto" => Pace::Auto,
    }
    /// Which pages of a list are read.
    PagesWord(()) {
        "all" => (),
    }
    /// What a new ledger file means.
    OnEmptyWord(OnEmpty) {
        "trust" => OnEmpty::Trust,
        "cautious" => OnEmpty::Cautious,
    }
    /// Whom a limit counts over.
    ScopeWord(Scope) {
        "account" => Scope::Account,
        "address" => Scope::Address,
    }
    /// How a window lies in time.
    WindowWord(WindowKind) {
        "sliding" => WindowKind::Sliding,
        "calendar" => WindowKind::Calendar,
    }
    /// Whether callers must show a certificate.
    ClientAuthWord(ClientAuth) {
        "required" => ClientAuth::Required,
        "optional" => ClientAuth::Optional,
    }
    /// Whether a caller's `Cache-Control` counts.
    CacheControlWord(ClientCacheControl) {
        "honour" => ClientCacheControl::Honour,
        "ignore" => ClientCacheControl::Ignore,
    }
}
