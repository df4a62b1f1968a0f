//! What is asked of every peer.

/// One row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) work: Work,
}

/// How a case is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Requests for some seconds: CPU, rate, latency.
    Load(Load),
    /// Something else that has one figure.
    Odd(Odd),
}

/// A stream of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) paths: Paths,
    pub(crate) wire: Wire,
}

/// Which paths are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paths {
    /// One, of a body of this many bytes.
    One(usize),
    /// So many in turn, of 1 KiB each.
    Many(usize),
    /// A new one each time, not to be kept.
    Fresh,
}

/// How they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Http1,
    Tls,
    Http2,
}

/// Cases with figures of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    /// 200 callers ask for one cold key that takes the origin 300 ms: the slowest answer, in ms.
    Joined,
    /// Resident bytes per kept object of 1 KiB, of 100,000.
    Objects,
    /// Resident MiB without work.
    Idle,
    /// From the start of the process to the first answer, in ms.
    Start,
    /// Resident bytes per idle connection, of 10,000.
    Connections,
    /// CPU per million hits while 1,000 callers wait for the budget, against the same without (weir only).
    Saturated,
    /// System calls per request.
    Calls(Load),
}

/// All cases, in the order of the table.
pub(crate) fn all() -> Vec<Case> {
    let load = |paths, wire| Work::Load(Load { paths, wire });
    let case = |name, what, work| Case { name, what, work };
    let calls = |name, what, (paths, wire)| case(name, what, Work::Odd(Odd::Calls(Load { paths, wire })));
    vec![
        case("hit-1k", "hits on one key of 1 KiB", load(Paths::One(1_024), Wire::Http1)),
        case("hit-16k", "hits on one key of 16 KiB", load(Paths::One(16_384), Wire::Http1)),
        case("keys-10k", "hits on 10,000 keys of 1 KiB", load(Paths::Many(10_000), Wire::Http1)),
        case("tls", "hits on one key of 1 KiB over TLS", load(Paths::One(1_024), Wire::Tls)),
        case("h2", "hits on one key of 1 KiB over HTTP/2", load(Paths::One(1_024), Wire::Http2)),
        case(
            "pass",
            "passed through, 1 KiB, under a budget that never binds",
            load(Paths::Fresh, Wire::Http1),
        ),
        case(
            "joined",
            "200 callers of one cold key at 300 ms: slowest answer (ms), requests at the origin",
            Work::Odd(Odd::Joined),
        ),
        case("idle", "resident MiB without work", Work::Odd(Odd::Idle)),
        case("start", "ms from exec to the first answer", Work::Odd(Odd::Start)),
        case("connections", "resident bytes per idle connection, 10,000 open", Work::Odd(Odd::Connections)),
        case(
            "saturated",
            "CPU-s per million hits without and with 1,000 waiting callers",
            Work::Odd(Odd::Saturated),
        ),
        calls("calls", "system calls per hit", (Paths::One(1_024), Wire::Http1)),
        calls("calls-h2", "system calls per hit over HTTP/2", (Paths::One(1_024), Wire::Http2)),
        calls("calls-pass", "system calls per request passed through", (Paths::Fresh, Wire::Http1)),
        // The last: some keep them on disk, and start over them.
        case("objects", "resident bytes per object of 1 KiB, 100,000 kept", Work::Odd(Odd::Objects)),
    ]
}
