//! A generic upstream with two keys: divisions `web` and `ops` share one, `api` has its own.

use weir::emulator::{Emulator, Options, Vendor};

use crate::support::{Caller, Reply, Weir, hash_line, token_of};

/// The consumers are named like their divisions.
const DIVISIONS: [(&str, &str); 3] = [("web", "main"), ("ops", "main"), ("api", "other")];

pub(super) struct Keyed {
    pub(super) origin: Emulator,
    pub(super) weir: Weir,
}

impl Keyed {
    /// `more` goes into the upstream's table.
    pub(super) async fn with(options: Options, more: &str) -> Self {
        Self::reserving(options, more, "").await
    }

    /// The same, and `reserve` goes into the table of division `ops`.
    pub(super) async fn reserving(options: Options, more: &str, reserve: &str) -> Self {
        let origin = Emulator::start(Options { vendor: Vendor::Generic, ..options }).await.unwrap();
        // Limits that no test reaches, so that each request still has a price.
        let mut config = format!(
            "[upstreams.echo]\ndialect = \"generic\"\nurl = \"{}\"\nlimits.day = \"100000/1d\"\n\
             keys.main.value = \"key-of-two-divisions\"\nkeys.other.value = \"key-of-the-third\"\n{more}\n",
            origin.url()
        );
        for (name, key) in DIVISIONS {
            let reserve = if name == "ops" { reserve } else { "" };
            config += &format!(
                "[upstreams.echo.divisions.{name}]\nkey = \"{key}\"\n{reserve}\n[consumers.{name}]\n{}\n\
                 [consumers.{name}.access.echo]\ndivision = \"{name}\"\nallow = [\"* /**\"]\n",
                hash_line(&token(name))
            );
        }
        let weir = Weir::start(&config);
        Self { origin, weir }
    }

    pub(super) fn caller(&self, name: &str) -> Caller {
        self.weir.caller(&token(name))
    }

    /// How often the origin was asked.
    pub(super) fn asked(&self) -> usize {
        self.origin.requests().len()
    }

    /// How often hits of this consumer have set off a refresh, and what it has paid for.
    pub(super) async fn refreshes_and_price(&self, name: &str) -> (u64, u64) {
        let status = self.weir.status().await;
        let consumers = status["consumers"].as_array().unwrap();
        let own = consumers.iter().find(|consumer| consumer["name"] == name).unwrap();
        let count = |what| own["exchanges"][what].as_u64().unwrap();
        (count("refresh"), count("price"))
    }

    pub(super) async fn purge(&self, body: &str) -> Reply {
        let json = [("content-type", "application/json")];
        self.weir.admin().ask(http::Method::POST, "/api/v1/cache/purge", &json, body).await
    }
}

pub(super) fn token(name: &str) -> String {
    token_of(name)
}
