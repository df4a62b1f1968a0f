//! Law 10: what one may not see, one is not served.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Visit {
    upstream: usize,
    key: usize,
    path: usize,
    query: usize,
    accept: usize,
    vary: bool,
    purge: usize,
}

fn visits() -> impl Strategy<Value = Vec<Visit>> {
    let visit = (0..2_usize, 0..3_usize, 0..3_usize, 0..2_usize, 0..2_usize, any::<bool>(), 0..40_usize)
        .prop_map(|(upstream, key, path, query, accept, vary, purge)| Visit {
            upstream,
            key,
            path,
            query,
            accept,
            vary,
            purge,
        });
    proptest::collection::vec(visit, 1..60)
}

fn scope(visit: &Visit) -> Scope {
    Scope {
        upstream: ["u", "v"][visit.upstream].parse().unwrap(),
        key: [None, Some("a"), Some("b")][visit.key].map(|key| key.parse().unwrap()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is asked, stored, varied and purged: an answer is only ever served
    /// to the scope, target and selecting headers it was fetched with.
    #[test]
    fn answers_stay_within_their_scope(visits in visits()) {
        let world = World::new(Sharing::Private);
        let method = Method::GET;
        for visit in visits {
            let path = ["/a", "/a/b", "/ab"][visit.path];
            let target = Target::parse(path, [None, Some("x=1")][visit.query]).unwrap();
            let key = Key::new(&scope(&visit), &method, &target, &HeaderMap::new(), None);
            let sent = fields(["accept: a", "accept: b"][visit.accept]);
            let asked = Asked::new(&method, &sent, &sent, ClientCacheControl::Honour);
            let stamp = format!("{:?} {target:?}", scope(&visit));
            match world.cache.lookup(&key, &world.policy(), &asked, now(0)) {
                Lookup::Fresh(hit) => {
                    let body = String::from_utf8(hit.entry.body().blocks().concat()).unwrap();
                    let (accept, body) = body.split_once('|').unwrap();
                    prop_assert_eq!(body, stamp);
                    prop_assert!(accept == "any" || accept == visit.accept.to_string());
                }
                Lookup::Miss(_) => {
                    let head = parse_response(if visit.vary { "200 | cc: max-age=60 | vary: accept" } else { "200 | cc: max-age=60" });
                    let exchange = Exchange { sent: now(0).at, received: now(0) };
                    let storable = world.policy().admit(&asked, &head, &exchange).unwrap();
                    let accept = if visit.vary { visit.accept.to_string() } else { "any".into() };
                    let body = Body::of(&[Bytes::from(format!("{accept}|{stamp}"))]);
                    let entry = storable.entry(&key, body).unwrap();
                    prop_assert_eq!(world.cache.insert(world.cache.ticket(), EntryArc::new(entry)), Stored::Kept);
                }
                other => prop_assert!(false, "{:?}", other),
            }
            if visit.purge == 0 {
                world.cache.purge(&Selector::Scope(scope(&visit)));
                let after = world.cache.lookup(&key, &world.policy(), &asked, now(0));
                prop_assert!(matches!(after, Lookup::Miss(Forward::UriMiss)));
            }
        }
    }
}
