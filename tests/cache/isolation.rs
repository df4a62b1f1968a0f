//! Law 10 through the whole of weir: whatever the configuration, an answer fetched
//! with one key is only served to those whose division has that key.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use weir::app::App;
use weir::emulator::{Emulator, Options, Vendor};

use crate::support::{Caller, hash_line, token_of};

/// Per upstream: how many keys, and each division's.
#[derive(Clone, Debug)]
struct Plan {
    divisions: Vec<usize>,
    /// (division, path, header)
    asks: Vec<(usize, usize, usize)>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let divisions = proptest::collection::vec(0..3_usize, 1..5);
    (divisions, proptest::collection::vec((0..5_usize, 0..3_usize, 0..2_usize), 10..40))
        .prop_map(|(divisions, asks)| Plan { divisions, asks })
}

fn key(number: usize) -> String {
    format!("key-of-scope-{number}")
}

fn config(plan: &Plan, origin: &Emulator, folder: &std::path::Path) -> String {
    let mut text = format!(
        "server.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\nstore.path = {folder:?}\n\
         [upstreams.echo]\ndialect = \"generic\"\nurl = \"{}\"\ncredential = {{ header = \"x-api-key\" }}\n\
         limits.minute = \"100000/1m\"\n",
        origin.url()
    );
    let mut used = plan.divisions.clone();
    used.sort_unstable();
    used.dedup();
    for number in used {
        text += &format!("keys.k{number}.value = \"{}\"\n", key(number));
    }
    text += "[[upstreams.echo.cache]]\nmatch = \"GET /**\"\nttl = \"1h\"\nkey = { headers = [\"accept-language\"] }\n";
    for (division, key) in plan.divisions.iter().enumerate() {
        text += &format!(
            "[upstreams.echo.divisions.d{division}]\nkey = \"k{key}\"\n\
             [consumers.c{division}]\n{}\n[consumers.c{division}.access.echo]\ndivision = \"d{division}\"\n",
            hash_line(&token_of(&format!("c{division}")))
        );
    }
    text
}

/// Every answer tells by which key it was fetched.
async fn hold(plan: Plan) {
    let origin = Emulator::start(Options { vendor: Vendor::Generic, ..Options::default() }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = config(&plan, &origin, folder.path());
    let mut free = 0;
    let mut asked = Vec::new();
    // The second time from the disk.
    for _ in 0..2 {
        let config = weir::config::load_str("weir.toml", &text, std::iter::empty()).unwrap();
        let app = App::start(config).await.unwrap();
        let asks = plan.asks.iter().map(async |&(who, path, language)| {
            let who = who % plan.divisions.len();
            let base = format!("http://{}", app.address());
            // As the vendor's own credential would stand.
            let caller = Caller::at(base, None);
            let token = token_of(&format!("c{who}"));
            let headers = [("x-api-key", token.as_str()), ("accept-language", ["de", "en"][language])];
            let reply = caller.get_with(&format!("/p/{path}"), &headers).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            let echo = reply.json();
            let sent = |name: &str| {
                let headers = echo["headers"].as_array().unwrap();
                headers
                    .iter()
                    .find(|header| header[0] == name)
                    .map(|header| header[1].as_str().unwrap().to_owned())
            };
            assert_eq!(sent("x-api-key").unwrap(), key(plan.divisions[who]), "{plan:?}");
            assert_eq!(sent("accept-language").unwrap(), ["de", "en"][language]);
            reply.price() == 0
        });
        free += futures_util::future::join_all(asks).await.into_iter().filter(|free| *free).count();
        app.stop().await;
        asked.push(origin.requests().len());
    }
    // Each scope, path and language costs one request.
    let mut things: Vec<_> = plan
        .asks
        .iter()
        .map(|&(who, path, language)| (plan.divisions[who % plan.divisions.len()], path, language))
        .collect();
    things.sort_unstable();
    things.dedup();
    // A disk that is slow on a loaded machine is not waited for: that costs requests, never scopes.
    assert!(things.len() <= asked[0] && asked[1] <= 2 * things.len(), "{asked:?}");
    assert_eq!(free, 2 * plan.asks.len() - asked[1]);
}

#[test]
fn no_configuration_serves_one_scope_anothers_answer() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 8, failure_persistence: None, ..Config::default() });
    runner
        .run(&plans(), |plan| {
            runtime.block_on(hold(plan));
            Ok(())
        })
        .unwrap();
}
