//! The cache from outside: the built binary in front of an origin that counts.

mod background;
mod crowds;
mod isolation;
mod keyed;
mod purging;
mod races;
mod restarts;
mod shown;
mod streams;

use weir::emulator::{Canned, Emulator, Options, Vendor};

use crate::support::{Caller, Weir, hash_line, token_of};

/// A generic upstream without a key or limits of its own.
struct House {
    origin: Emulator,
    weir: Weir,
}

impl House {
    /// `more` goes into the upstream's table.
    async fn with(more: &str) -> Self {
        Self::of(Options::default(), more).await
    }

    /// In front of an origin with these options.
    async fn of(options: Options, more: &str) -> Self {
        let origin = Emulator::start(Options { vendor: Vendor::Generic, ..options }).await.unwrap();
        let weir = Weir::start(&config(&origin, more));
        Self { origin, weir }
    }

    async fn new() -> Self {
        Self::with("").await
    }

    /// The consumer.
    fn caller(&self) -> Caller {
        self.weir.caller(&token_of("all"))
    }

    /// What the origin answers at `path`: this text, fresh for an hour.
    fn says(&self, path: &str, body: &str) {
        self.origin.script(path, canned(body)).unwrap();
    }

    /// How often the origin was asked.
    fn asked(&self) -> usize {
        self.origin.requests().len()
    }
}

fn config(origin: &Emulator, more: &str) -> String {
    format!(
        "[upstreams.echo]\ndialect = \"generic\"\nurl = \"{}\"\n{more}\n\
         [consumers.all]\n{}\n[consumers.all.access.echo]\nallow = [\"* /**\"]\n",
        origin.url(),
        hash_line(&token_of("all"))
    )
}

fn canned(body: &str) -> Canned {
    let headers = [("cache-control", "max-age=3600"), ("content-type", "text/plain"), ("etag", "\"1\"")];
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    Canned {
        status: http::StatusCode::OK,
        headers: headers.into_iter().collect(),
        body: body.to_owned().into(),
    }
}
