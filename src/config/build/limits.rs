//! An upstream's limits: the dialect's, with what config says merged over them
//! by name and field.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::Redis;
use crate::config::mistake::{Place, Walk, did_you_mean, one_of};
use crate::config::raw;
use crate::config::read::{At, Field, Named};
use crate::config::scalar::{Part, Per, Resets, TypedRate, spell};
use crate::config::union::{LimitValue, RoutesValue};
use crate::config::word::WindowKind;
use crate::dialect::Dialect;
use crate::quota::{Calendar, Limit, MAX_LIMITS, Routes, Scope, Window};

const DAY: Duration = Duration::from_secs(86_400);

/// The limits of an upstream, and which names are spoken for by wrong ones.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) list: Vec<Limit>,
    /// What each replica has for itself, limit by limit; it is no longer in `list`.
    pub(super) aside: Option<Vec<u32>>,
    broken: Vec<String>,
    /// The dialect is known, so that a name that is not here is nowhere.
    complete: bool,
}

/// What a limit's name stands for.
pub(super) enum Found<'a> {
    At(usize, &'a Limit),
    /// It was wrong, which is noted elsewhere.
    Broken,
    Unknown,
}

impl Limits {
    pub(super) fn of(raw: &raw::Upstream, dialect: Option<&Dialect>, walk: &mut Walk<'_>) -> Self {
        let defaults = dialect.map(Dialect::default_limits).unwrap_or_default();
        let complete = dialect.is_some() && raw.limits.value().is_none_or(Named::is_whole);
        let mut limits = Self { list: Vec::new(), aside: None, broken: Vec::new(), complete };
        let typed = raw.limits.things();
        limits.complete &= !matches!(raw.limits, Field::Wrong);
        for default in defaults {
            match typed.iter().find(|(name, _)| name == default.name.as_str()) {
                None => limits.list.push(default),
                Some(typed) => limits.merge(typed, Some(default), dialect, walk),
            }
        }
        for typed @ (name, _) in typed {
            let merged =
                limits.list.iter().any(|limit| limit.name.as_str() == name) || limits.broken.contains(name);
            if !merged && !limits.was_default(name, dialect) {
                limits.merge(typed, None, dialect, walk);
            }
        }
        if let (true, Some(at)) = (limits.list.len() > MAX_LIMITS, raw.limits.given()) {
            walk.wrong(&at.place, format!("more than {MAX_LIMITS} limits; leave some out"));
        }
        if let Some(portion) = raw.portion.given() {
            limits.take_portion(portion, !raw.egress.is_missing(), walk);
        }
        limits
    }

    pub(super) fn find(&self, name: &str) -> Found<'_> {
        match self.list.iter().position(|limit| limit.name.as_str() == name) {
            Some(index) => Found::At(index, &self.list[index]),
            None if !self.complete || self.broken.iter().any(|broken| broken == name) => Found::Broken,
            None => Found::Unknown,
        }
    }

    /// What to write instead of a name that stands for no limit.
    pub(super) fn fix(&self, name: &str) -> String {
        let names = || self.list.iter().map(|limit| limit.name.as_str());
        match did_you_mean(name, names()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if self.list.is_empty() => "this upstream has no limits; add it under `limits`".into(),
            None => format!("this upstream has {}", one_of(names()).replace(" or ", " and ")),
        }
    }

    fn was_default(&self, name: &str, dialect: Option<&Dialect>) -> bool {
        dialect
            .is_some_and(|dialect| dialect.default_limits().iter().any(|limit| limit.name.as_str() == name))
    }

    fn merge(
        &mut self,
        typed @ (name, at): &Typed,
        default: Option<Limit>,
        dialect: Option<&Dialect>,
        walk: &mut Walk<'_>,
    ) {
        if matches!(at.value, LimitValue::Removed) {
            if default.is_none() && self.complete {
                walk.warn(&at.place, "there is no limit of this name to remove");
            }
            return;
        }
        match merged(typed, default, dialect, walk) {
            Some(limit) => self.list.push(limit),
            None => self.broken.push(name.clone()),
        }
    }

    /// Takes off what each replica keeps for the time without a Redis: rounded down, but
    /// one request at least where that leaves something to share.
    pub(super) fn set_aside(
        &mut self,
        redis: &Redis,
        shared_address: bool,
        place: &Place,
        walk: &mut Walk<'_>,
    ) {
        let mut aside = Vec::new();
        for limit in &mut self.list {
            let whole = limit.requests.get();
            let Some(part) = redis.on_loss.part_of(whole) else { return };
            // Nobody else has an address of one's own.
            let is_own = limit.scope == Scope::Address && !shared_address;
            let parts = if is_own { 1 } else { redis.replicas };
            let part = if part == 0 && parts < whole { 1 } else { part };
            aside.push(part);
            let name = &limit.name;
            if part == 0 {
                walk.warn(place, format!("store.redis.on_loss sets nothing of limit {name} ({whole}) aside: without Redis, nothing that counts on it leaves"));
            }
            match whole.checked_sub(part.saturating_mul(parts)).and_then(NonZeroU32::new) {
                Some(rest) => limit.requests = rest,
                None => walk.wrong(
                    place,
                    format!(
                        "store.redis.on_loss sets {part} of limit {name} ({whole}) aside for each of {parts} \
                         replicas, which leaves nothing to share; write \"closed\", or a smaller share"
                    ),
                ),
            }
        }
        self.aside = Some(aside);
    }

    /// An address of one's own is not shared out; one behind a NAT is, and has a name.
    fn take_portion(&mut self, portion: &At<Part>, shared_address: bool, walk: &mut Walk<'_>) {
        for limit in self.list.iter_mut().filter(|limit| shared_address || limit.scope == Scope::Account) {
            let whole = limit.requests.get();
            let part = u32::try_from(portion.value.of(whole.into())).ok().and_then(NonZeroU32::new);
            match part {
                Some(part) => limit.requests = part,
                None => walk.wrong(
                    &portion.place,
                    format!(
                        "leaves less than one request of limit {} ({whole} in all); write a larger part",
                        limit.name
                    ),
                ),
            }
        }
    }
}

/// A limit's name and what was typed for it.
type Typed = (String, At<LimitValue>);

/// A limit while what config says is merged over the dialect's.
struct Merge {
    shape: Shape,
    /// With the place that a wrong number is noted at.
    requests: Option<(u64, Place)>,
    scope: Scope,
    routes: Routes,
    /// None for the window's default.
    slack: Option<Duration>,
}

/// How a limit's window was typed, or would have been.
#[derive(Clone)]
struct Shape {
    kind: Option<WindowKind>,
    per: Option<Per>,
    resets: Option<Resets>,
}

impl Merge {
    fn over(default: Option<Limit>, place: &Place) -> Self {
        let nothing = Shape { kind: None, per: None, resets: None };
        match default {
            None => Self {
                shape: nothing,
                requests: None,
                scope: Scope::Account,
                routes: Routes::All,
                slack: None,
            },
            Some(limit) => Self {
                shape: shape_of(&limit.window),
                requests: Some((limit.requests.get().into(), place.clone())),
                scope: limit.scope,
                slack: Some(limit.slack).filter(|slack| *slack != limit.window.default_slack()),
                routes: limit.routes,
            },
        }
    }

    /// A text sets requests and per only.
    fn rate(&mut self, rate: TypedRate, place: &Place) -> Option<Window> {
        self.requests = Some((rate.requests, place.clone()));
        self.shape.resets = self.shape.resets.take().filter(|_| whole_days(rate.per));
        self.shape.per = Some(rate.per);
        if rate.per == Per::Month {
            self.shape.kind = Some(WindowKind::Calendar);
        }
        build_window(&self.shape)
    }

    /// A table sets what it names.
    fn table(&mut self, raw: &raw::Limit, dialect: Option<&Dialect>, walk: &mut Walk<'_>) -> Option<Window> {
        if let Some(typed) = raw.requests.given() {
            self.requests = Some((typed.value, typed.place.clone()));
        } else if self.requests.is_none() && raw.requests.is_missing() {
            walk.wrong(&raw.place, "how many requests is not said; write requests = 20");
        }
        if self.shape.per.is_none() && raw.per.is_missing() {
            walk.wrong(&raw.place, "the length of the window is not said; write per = \"1m\"");
        }
        self.slack = raw.slack.value().map(|slack| slack.0).or(self.slack);
        self.scope = raw.scope.value().map_or(self.scope, |word| word.0);
        if let Some(routes) = raw.routes.given().and_then(|typed| routes(typed, dialect, walk)) {
            self.routes = routes;
        }
        window(&self.shape, raw, walk)
    }
}

fn merged(
    (name, at): &Typed,
    default: Option<Limit>,
    dialect: Option<&Dialect>,
    walk: &mut Walk<'_>,
) -> Option<Limit> {
    let before = walk.count();
    let mut merge = Merge::over(default, &at.place);
    let window = match &at.value {
        LimitValue::Removed => None,
        LimitValue::Rate(rate) => merge.rate(rate.0, &at.place),
        LimitValue::Table(raw) => merge.table(raw, dialect, walk),
    };
    let window = window.filter(|_| walk.count() == before)?;
    let requests = counted(merge.requests?, &window, walk)?;
    let slack = merge.slack.unwrap_or_else(|| window.default_slack());
    if slack > window.length() {
        walk.wrong(&at.place, "the slack is longer than the window; leave it out for the default");
    }
    Some(Limit {
        name: name.parse().ok()?,
        requests,
        window,
        scope: merge.scope,
        routes: merge.routes,
        slack,
    })
}

fn whole_days(per: Per) -> bool {
    matches!(per, Per::Month | Per::Length(DAY))
}

fn counted(typed: (u64, Place), window: &Window, walk: &mut Walk<'_>) -> Option<NonZeroU32> {
    let (requests, place) = typed;
    match u32::try_from(requests).map(NonZeroU32::new) {
        Ok(Some(requests)) => Some(requests),
        Ok(None) => {
            let per = spell(window.length());
            walk.wrong(
                &place,
                format!("a limit of 0 lets nothing through; write at least \"1/{per}\", or false to remove the limit"),
            );
            None
        }
        Err(_) => {
            walk.wrong(&place, format!("more requests than weir can count; write at most {}", u32::MAX));
            None
        }
    }
}

fn shape_of(window: &Window) -> Shape {
    let calendar = |per, resets| Shape { kind: Some(WindowKind::Calendar), per: Some(per), resets };
    match window {
        Window::Sliding(length) => {
            Shape { kind: Some(WindowKind::Sliding), per: Some(Per::Length(*length)), resets: None }
        }
        Window::Calendar(Calendar::Every(length)) => calendar(Per::Length(*length), None),
        Window::Calendar(Calendar::Daily { at, zone }) => {
            calendar(Per::Length(DAY), Some(Resets { at: *at, zone: zone.clone() }))
        }
        Window::Calendar(Calendar::Monthly { at, zone }) => {
            calendar(Per::Month, Some(Resets { at: *at, zone: zone.clone() }))
        }
    }
}

/// The window of a limit's table over `inherited`.
fn window(inherited: &Shape, raw: &raw::Limit, walk: &mut Walk<'_>) -> Option<Window> {
    let per = raw.per.value().map(|per| per.0).or(inherited.per)?;
    let implied = (raw.resets.given().is_some() || per == Per::Month).then_some(WindowKind::Calendar);
    let kind = raw.window.value().map(|word| word.0).or(implied).or(inherited.kind);
    if kind == Some(WindowKind::Sliding) {
        if let Some(at) = raw.resets.given() {
            walk.wrong(
                &at.place,
                "a sliding window has no edge; leave this out, or write window = \"calendar\"",
            );
        }
        if let (Per::Month, Some(at)) =
            (per, raw.per.given().map(|at| &at.place).or(raw.window.given().map(|at| &at.place)))
        {
            walk.wrong(
                at,
                "a month has no fixed length to slide; write per = \"30d\", or window = \"calendar\"",
            );
        }
    }
    if let (Some(at), false) = (raw.resets.given(), whole_days(per)) {
        walk.wrong(
            &at.place,
            "only days and months reset at a time of day; write per = \"1d\" or per = \"month\"",
        );
    }
    let inherited_resets = inherited.resets.clone().filter(|_| whole_days(per));
    let resets = raw.resets.value().map(|resets| resets.0.clone()).or(inherited_resets);
    build_window(&Shape { kind, per: Some(per), resets })
}

fn build_window(shape: &Shape) -> Option<Window> {
    let resets = shape.resets.clone();
    let midnight = || (jiff::civil::Time::midnight(), jiff::tz::TimeZone::UTC);
    Some(match (shape.kind.unwrap_or(WindowKind::Sliding), shape.per?) {
        (WindowKind::Sliding, Per::Length(length)) => Window::Sliding(length),
        (WindowKind::Sliding, Per::Month) => return None,
        (WindowKind::Calendar, Per::Month) => {
            let (at, zone) = resets.map_or_else(midnight, |resets| (resets.at, resets.zone));
            Window::Calendar(Calendar::Monthly { at, zone })
        }
        (WindowKind::Calendar, Per::Length(length)) => Window::Calendar(match resets {
            Some(Resets { at, zone }) if (at, &zone) != (midnight().0, &midnight().1) => {
                Calendar::Daily { at, zone }
            }
            _ => Calendar::Every(length),
        }),
    })
}

fn routes(typed: &At<RoutesValue>, dialect: Option<&Dialect>, walk: &mut Walk<'_>) -> Option<Routes> {
    let classes = dialect.map(Dialect::classes).unwrap_or_default();
    match &typed.value {
        RoutesValue::Word(word) if word == "all" => Some(Routes::All),
        RoutesValue::Word(word) => {
            let found = classes.iter().find(|class| class.0 == word).map(|class| Routes::Class(*class));
            if found.is_none() && dialect.is_some() {
                let known = one_of(std::iter::once("all").chain(classes.iter().map(|class| class.0)));
                walk.wrong(
                    &typed.place,
                    format!("this dialect has no class of this name; write {known}, or patterns in [ ]"),
                );
            }
            found
        }
        RoutesValue::Patterns(list) if list.is_empty => {
            walk.wrong(
                &typed.place,
                "an empty list counts nothing; write \"all\", or patterns such as [\"GET /api/**\"]",
            );
            None
        }
        RoutesValue::Patterns(list) => {
            Some(Routes::Patterns(list.entries.iter().map(|at| at.value.0.clone()).collect()))
        }
    }
}
