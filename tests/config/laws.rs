//! What holds for any file at all: the loader does not panic, repeats no value
//! in a mistake, shows no secret anywhere, and what it lets through is whole.

use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use weir::config::{self, Config};
use weir::quota::{DivisionPlan, Plan, Quantity};

use super::schema::{resolve, shapes};

/// In every value that is typed: no mistake and no warning may repeat it.
const TYPED: &str = "CaNaRy";
/// In every secret: nothing may show it.
const SECRET: &str = "SeCrEtCaNaRy";

/// Keys that are right only beside certain others.
const AWKWARD: &[&str] = &[
    "tls",
    "proxy",
    "ca",
    "system_roots",
    "client_cert",
    "client_key",
    "certificate",
    "versions",
    "learn_usage_limits",
    "credential",
    "h2c",
    "host",
    "snap",
    "resets",
    "window",
    "slack",
    "counted_within",
    "max_queue",
    "routes",
    "token_key",
    "token_ttl",
    "value_v1",
    "client_id",
    "client_secret",
    "oauth_client_id",
    "oauth_client_secret",
];

/// A random file along the schema: mostly of the right shape, often of wrong value.
struct Writer<'a> {
    root: &'a Value,
    random: ChaCha8Rng,
    /// In how many of 100 places something else stands than what belongs there.
    wrong: u32,
}

impl Writer<'_> {
    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.random.random_range(0..of.len())]
    }

    /// Files of this kind are meant to be right.
    fn tame(&self) -> bool {
        self.wrong == 0
    }

    fn file(&mut self) -> String {
        let root = self.root;
        let mut out = String::new();
        for (key, schema) in root["properties"].as_object().unwrap() {
            if key == "upstreams" || self.chance(85) {
                out += &format!("{key} = {}\n", self.value(schema, key, 0));
            }
        }
        out
    }

    fn value(&mut self, schema: &Value, key: &str, depth: usize) -> String {
        if self.chance(self.wrong) || depth > 12 {
            return self.anything(depth);
        }
        let schema = resolve(self.root, schema);
        let shapes = shapes(self.root, schema);
        let secret = shapes.iter().any(|shape| shape.pointer("/properties/env").is_some());
        if secret {
            return self.secret();
        }
        let shape = shapes[self.random.random_range(0..shapes.len())].clone();
        if let Some(properties) = shape.get("properties").and_then(Value::as_object) {
            let (mut inner, tame) = (Vec::new(), self.tame());
            for (key, schema) in
                properties.iter().filter(|(key, _)| !tame || !AWKWARD.contains(&key.as_str()))
            {
                let wanted = [
                    "url",
                    "dialect",
                    "keys",
                    "token",
                    "access",
                    "match",
                    "value",
                    "requests",
                    "per",
                    "limits",
                    "divisions",
                    "division",
                ]
                .contains(&key.as_str());
                let refused = schema
                    .get("description")
                    .is_some_and(|text| text.as_str().unwrap().contains("Not built"));
                if !refused && (wanted && self.chance(95) || self.chance(25)) || self.chance(self.wrong) {
                    inner.push(format!("{key} = {}", self.value(schema, key, depth + 1)));
                }
            }
            return format!("{{ {} }}", inner.join(", "));
        }
        if let Some(named @ Value::Object(_)) = shape.get("additionalProperties") {
            let names = match key {
                "upstreams" | "access" if self.tame() => vec!["up"],
                "keys" if self.tame() => vec!["a"],
                "upstreams" | "access" => vec!["up", "other"],
                "caps" | "reserve" | "limits" => vec!["minute", "hour", "day", "odd"],
                "negative" => vec!["404", "500", "odd"],
                _ => vec!["a", "b", "c"],
            };
            let named = named.clone();
            let chosen: Vec<_> =
                names.into_iter().filter(|_| self.chance(if self.tame() { 90 } else { 60 })).collect();
            let inner: Vec<_> = chosen
                .into_iter()
                .map(|name| format!("{name} = {}", self.value(&named, "", depth + 1)))
                .collect();
            return format!("{{ {} }}", inner.join(", "));
        }
        if let Some(item) = shape.get("items") {
            let item = item.clone();
            let entries: Vec<_> = (0..self.random.random_range(u32::from(self.tame())..3))
                .map(|_| self.value(&item, key, depth + 1))
                .collect();
            return format!("[{}]", entries.join(", "));
        }
        self.scalar(&shape, key)
    }

    fn scalar(&mut self, shape: &Value, key: &str) -> String {
        if let Some(words) = shape.get("enum").and_then(Value::as_array) {
            return match key {
                "dialect" => self.one(&["'generic'", "'generic'", "'catchpoint'"]).into(),
                _ => words[self.random.random_range(0..words.len())].to_string(),
            };
        }
        match (shape.get("type").and_then(Value::as_str), key) {
            (Some("boolean"), _) => self.one(&["true", "false"]).into(),
            (Some("integer"), _) => self.random.random_range(0..60_u32).to_string(),
            (Some("number"), _) => self.one(&["0.1", "0.25", "0.5"]).into(),
            (_, "key" | "division") => self.one(&["'a'", "'b'", "'c'"]).into(),
            (_, "portion") => "'50%'".into(),
            (_, "share" | "reserve") => self.one(&["'10%'", "'1/5'", "'30%'", "'60%'"]).into(),
            (_, "mount") => self.one(&["'/'", "'/a'", "'/b'"]).into(),
            (_, "url") => self.one(&["'https://a.example/x'", "'http://localhost:1'"]).into(),
            (_, "listen") => self.one(&["'127.0.0.1:0'", "'[::1]:0'"]).into(),
            (_, "routes") => self.one(&["'all'", "'analytic'"]).into(),
            _ if shape.get("const").is_some() => "false".into(),
            _ => match shape.get("examples").and_then(Value::as_array) {
                Some(examples) => examples[0].to_string(),
                None => format!("'{TYPED}'"),
            },
        }
    }

    fn secret(&mut self) -> String {
        let kind =
            if self.tame() { self.one(&["0", "1", "4"]) } else { self.one(&["0", "1", "2", "3", "4", "5"]) };
        match kind {
            "1" => format!("{{ env = '{SECRET}' }}"),
            "2" => format!("{{ file = '/{SECRET}' }}"),
            "3" => format!("[['{SECRET}'], {{ x = '{SECRET}' }}]"),
            n => format!("'{SECRET}-{n}-{}'", self.random.next_u64()),
        }
    }

    fn anything(&mut self, depth: usize) -> String {
        match self.random.random_range(0..if depth > 12 { 9 } else { 12 }) {
            0 => "9223372036854775807".into(),
            1 => "-1".into(),
            2 => "nan".into(),
            3 => "2028-01-31".into(),
            4 => "true".into(),
            5 => format!("'https://{TYPED}:{TYPED}@host/'"),
            6 => format!("'GET {TYPED}'"),
            7 => format!("'10/{TYPED}'"),
            8 => format!("'12 {TYPED}'"),
            9 => format!("[{}, '{TYPED}']", self.anything(depth + 1)),
            10 => format!("{{ zzz = {}, env = '{TYPED}' }}", self.anything(depth + 1)),
            _ => format!("'{TYPED}'"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_makes_the_loader_panic_or_repeat_what_was_typed(seed: u64, wrong in prop::sample::select(vec![0, 0, 1, 5, 30])) {
        let root = schema();
        let text = Writer { root, random: ChaCha8Rng::seed_from_u64(seed), wrong }.file();
        let env = [(SECRET.to_owned(), format!("{SECRET} value")), ("WEIR__SERVER__PUBLIC_URL".into(), TYPED.into())];
        let env = env.into_iter().filter(|(name, _)| seed.is_multiple_of(4) || name == SECRET);
        match config::load_str("weir.toml", &text, env) {
            Err(mistakes) => {
                let said = mistakes.to_string();
                prop_assert!(!said.contains(TYPED) && !said.contains(SECRET), "{text}\n{said}");
                prop_assert!(!said.contains("report this file as a bug"), "{text}\n{said}");
                prop_assert!(said.lines().all(|line| line.starts_with("weir.toml:") || line.starts_with("WEIR__")), "{said}");
            }
            Ok(config) => {
                let shown = format!("{config:?}\n{}", config::report(&config));
                prop_assert!(!shown.contains(SECRET), "{text}\n{shown}");
                prop_assert!(!config.warnings.iter().any(|warning| warning.contains(TYPED)));
                whole(&config);
            }
        }
    }

    #[test]
    fn no_text_makes_the_loader_panic(text in "\\PC{0,200}", value in "[\\[\\]{}=,a-z0-9\"' ]{0,40}") {
        let env = [("WEIR__UPSTREAMS".to_owned(), value.clone()), ("WEIR__UPSTREAMS__A__CACHE".to_owned(), value)];
        let _ = config::load_str("weir.toml", &text, env.clone().into_iter());
        let _ = config::load_str("weir.toml", "", env.into_iter());
    }
}

fn schema() -> &'static Value {
    static SCHEMA: std::sync::OnceLock<Value> = std::sync::OnceLock::new();
    SCHEMA.get_or_init(config::schema)
}

/// No loose ends in what was let through.
fn whole(config: &Config) {
    assert!(!config.upstreams.is_empty());
    for upstream in &config.upstreams {
        let plan = &upstream.plan;
        assert_eq!(plan.divisions.len(), upstream.division_keys.len());
        assert!(!plan.divisions.is_empty());
        assert!(upstream.division_keys.iter().flatten().all(|key| *key < upstream.keys.len()));
        assert!(upstream.keys.iter().all(|key| !key.values.is_empty()));
        shares_fit(plan.divisions.iter().map(|division| division.share.0));
        for index in 0..plan.divisions.len() {
            let members: Vec<_> =
                plan.consumers.iter().filter(|consumer| consumer.division == index).collect();
            shares_fit(members.iter().map(|consumer| consumer.share.0));
        }
        for (limit, of) in plan.limits.iter().enumerate() {
            let held_in = |(index, division): (usize, &DivisionPlan)| {
                let members = plan.consumers.iter().filter(|consumer| consumer.division == index);
                let theirs: u64 = members.map(|consumer| on(&consumer.reserve, limit)).sum();
                theirs.max(on(&division.reserve, limit))
            };
            let held: u64 = plan.divisions.iter().enumerate().map(held_in).sum();
            assert!(held <= of.requests.get().into());
        }
        quantities_exist(plan);
    }
    for consumer in &config.consumers {
        assert!(consumer.proof.token.is_some() || !consumer.proof.from.is_empty());
        for access in &consumer.access {
            assert_eq!(config.upstreams[access.upstream].plan.consumers[access.seat].name, consumer.name);
        }
    }
}

fn shares_fit(shares: impl Iterator<Item = u32>) {
    let shares: Vec<u64> = shares.map(u64::from).collect();
    assert!(shares.iter().all(|share| *share > 0) && shares.iter().sum::<u64>() <= 1_000_000);
}

fn on(quantities: &[Quantity], limit: usize) -> u64 {
    quantities
        .iter()
        .filter(|quantity| quantity.limit == limit)
        .map(|quantity| u64::from(quantity.requests.get()))
        .sum()
}

fn quantities_exist(plan: &Plan) {
    let of_divisions =
        plan.divisions.iter().flat_map(|division| division.reserve.iter().chain(&division.caps));
    let of_consumers =
        plan.consumers.iter().flat_map(|consumer| consumer.reserve.iter().chain(&consumer.caps));
    assert!(of_divisions.chain(of_consumers).all(|quantity| quantity.limit < plan.limits.len()));
}

/// The law above would hold of a writer that never writes anything right.
#[test]
fn the_writer_writes_files_that_are_let_through() {
    let good = (0..300).filter(|seed| {
        let text = Writer { root: schema(), random: ChaCha8Rng::seed_from_u64(*seed), wrong: 0 }.file();
        config::load_str("weir.toml", &text, std::iter::once((SECRET.to_owned(), SECRET.to_owned()))).is_ok()
    });
    let good = good.count();
    assert!(good >= 5, "only {good} of 300");
}
