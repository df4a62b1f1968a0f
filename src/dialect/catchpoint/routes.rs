//! The documented routes below `/api/VERSION`, and what is known of each.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use http::Method;

/// One documented GET.
#[derive(Clone, Copy, Debug)]
pub(in crate::dialect) struct Get {
    /// `{ids}` is a list of numbers, `{token}` any one segment.
    pub(super) path: &'static str,
    /// Counts against the account's minute, hour and day.
    pub(super) analytic: bool,
    /// The names of its start and end parameters.
    pub(super) times: Option<[&'static str; 2]>,
    /// The most that may lie between them.
    pub(super) longest: Option<Duration>,
    /// The largest `pageSize`, if it has pages.
    pub(super) page_size: Option<u16>,
    /// What its data is like.
    pub(super) kept: Kept,
}

/// What data is like, and so how long it stays fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// A test that is running: polled until it ends.
    Running,
    /// States that people watch while they change.
    State,
    /// What somebody configures.
    Config,
    /// Names and numbers that only a release of the vendor changes.
    Enumeration,
    /// One run that is over.
    Run,
    /// A window that always ends now.
    Moving,
    /// A window with start and end.
    Window,
}

const UTC: [&str; 2] = ["startTimeUtc", "endTimeUtc"];
const SLO: [&str; 2] = ["startTime", "endTime"];
const DATES: [&str; 2] = ["startDate", "endDate"];
const HOUR: Duration = Duration::from_secs(3_600);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

impl Get {
    const fn plain(path: &'static str, kept: Kept) -> Self {
        Self { path, analytic: false, times: None, longest: None, page_size: None, kept }
    }

    const fn analytic(path: &'static str, kept: Kept) -> Self {
        Self { analytic: true, ..Self::plain(path, kept) }
    }

    const fn times(self, names: [&'static str; 2]) -> Self {
        Self { times: Some(names), ..self }
    }

    const fn longest(self, most: Duration) -> Self {
        Self { longest: Some(most), ..self }
    }

    const fn pages(self, most: u16) -> Self {
        Self { page_size: Some(most), ..self }
    }
}

/// Every documented GET. The analytic ones are those of UPSTREAMS.
pub(super) const GETS: &[Get] = &[
    // The account's budget
    Get::analytic("tests/alerts", Kept::Window).times(UTC).pages(100),
    Get::analytic("tests/alerts/{ids}", Kept::Config),
    Get::analytic("endpoints/device/explorer/raw", Kept::Window).times(UTC),
    Get::analytic("endpoints/device/explorer/aggregated", Kept::Window).times(UTC),
    Get::analytic("instanttests/{ids}", Kept::Running),
    Get::analytic("iw/outages", Kept::Window).times(UTC),
    Get::analytic("nodes/all", Kept::Config).pages(100),
    Get::analytic("nodes/testrun/{ids}", Kept::Window).times(UTC).longest(HOUR),
    Get::analytic("realuser/favoritechart/data/{ids}", Kept::Window).times(UTC),
    Get::analytic("realuser/favoritechart/defaultdata/{ids}", Kept::Moving),
    Get::analytic("realuser/explorer/data/{ids}", Kept::Window).times(UTC),
    Get::analytic("tests/errors/raw", Kept::Window).times(UTC).pages(200),
    Get::analytic("tests/errors/raw/{ids}", Kept::Moving),
    Get::analytic("tests/records/waterfall/{ids}", Kept::Window).times(UTC),
    Get::analytic("tests/records/waterfall/data/{token}", Kept::Run),
    Get::analytic("tests/records/waterfall/screenshot/{token}", Kept::Run),
    Get::analytic("tests/records/waterfall/filmstrip/{token}", Kept::Run),
    Get::analytic("tests/explorer/raw", Kept::Window).times(UTC),
    Get::analytic("tests/explorer/aggregated", Kept::Window).times(UTC),
    Get::analytic("tests/explorer/favoritechart/data/{ids}", Kept::Window).times(UTC),
    Get::analytic("tests/explorer/favoritechart/defaultdata/{ids}", Kept::Moving),
    // Only the address's second
    Get::plain("account/activity", Kept::Config).pages(100),
    Get::plain("account/usagereport", Kept::Config),
    Get::plain("assertions", Kept::Config),
    Get::plain("commandcontrol", Kept::Config),
    Get::plain("contacts", Kept::Config).pages(100),
    Get::plain("contacts/{ids}", Kept::Config),
    Get::plain("divisions", Kept::Config),
    Get::plain("endpoints/device", Kept::Config).pages(100),
    Get::plain("endpoints/device/{ids}", Kept::Config),
    Get::plain("endpoints/device/explorer/enumeration", Kept::Enumeration),
    Get::plain("endpoints/device/label/{ids}", Kept::Config),
    Get::plain("endpoints/device/status/{ids}", Kept::State),
    // UPSTREAMS calls it by this name; the reference has no such path.
    Get::plain("enumerations", Kept::Enumeration),
    Get::plain("folders", Kept::Config).pages(100),
    Get::plain("folders/{ids}", Kept::Config),
    Get::plain("insights/insights", Kept::Config),
    Get::plain("insights/{token}", Kept::Config),
    Get::plain("instances", Kept::Config).pages(100),
    Get::plain("instances/{ids}", Kept::Config),
    Get::plain("instances/hardware/{ids}", Kept::Window).times(DATES).longest(WEEK),
    Get::plain("instances/status/{ids}", Kept::State),
    Get::plain("instanttests/configuration/{ids}", Kept::Config),
    Get::plain("labels", Kept::Config).pages(100),
    Get::plain("labels/{ids}", Kept::Config),
    Get::plain("library/asns", Kept::Config),
    Get::plain("library/asns/{ids}", Kept::Config),
    Get::plain("library/credentials", Kept::Config),
    Get::plain("library/credentials/{ids}", Kept::Config),
    Get::plain("nodes", Kept::Config),
    Get::plain("nodes/{ids}", Kept::Config),
    Get::plain("nodes/capacityutilization/{ids}", Kept::Window).times(UTC).longest(WEEK),
    Get::plain("nodes/chromeversions", Kept::Enumeration),
    Get::plain("nodes/errors/{ids}", Kept::Window).times(UTC).longest(WEEK),
    Get::plain("nodes/geographycity", Kept::Enumeration).pages(100),
    Get::plain("nodes/groups", Kept::Config),
    Get::plain("nodes/groups/{ids}", Kept::Config),
    Get::plain("nodes/groups/networktype", Kept::Enumeration),
    Get::plain("nodes/groups/nodelocations", Kept::Enumeration),
    Get::plain("nodes/groups/objecttype", Kept::Enumeration),
    Get::plain("nodes/isp", Kept::Enumeration),
    Get::plain("nodes/os", Kept::Enumeration),
    Get::plain("nodes/package", Kept::Enumeration),
    Get::plain("nodes/runrate/{ids}", Kept::Window).times(UTC).longest(WEEK),
    Get::plain("nodes/state/{ids}", Kept::State),
    Get::plain("nodes/status/{ids}", Kept::State),
    Get::plain("nodes/testruncount/{ids}", Kept::Window).times(UTC).longest(WEEK),
    Get::plain("nodes/testtime/{ids}", Kept::Window).times(UTC).longest(WEEK),
    Get::plain("products", Kept::Config).pages(100),
    Get::plain("products/{ids}", Kept::Config),
    Get::plain("realuser/explorer/enumeration", Kept::Enumeration),
    Get::plain("realuser/favoritechart", Kept::Config),
    Get::plain("realuser/favoritechart/{ids}", Kept::Config),
    Get::plain("slapurgeitems", Kept::Config).times(SLO),
    Get::plain("slapurgeitems/{ids}", Kept::Config),
    Get::plain("slo", Kept::Config),
    Get::plain("slo/{ids}", Kept::Config),
    Get::plain("slo/enumeration", Kept::Enumeration),
    Get::plain("slo/violations", Kept::Window).times(SLO),
    Get::plain("tests", Kept::Config).pages(100),
    Get::plain("tests/{ids}", Kept::Config),
    Get::plain("tests/alert/state/{ids}", Kept::State),
    Get::plain("tests/enumeration", Kept::Enumeration),
    Get::plain("tests/explorer/enumeration", Kept::Enumeration),
    Get::plain("tests/explorer/favoritechart", Kept::Config),
    Get::plain("tests/explorer/favoritechart/{ids}", Kept::Config),
    Get::plain("testtemplates", Kept::Config),
    Get::plain("testtemplates/{ids}", Kept::Config),
    Get::plain("testtemplates/applicationgroups", Kept::Enumeration),
    Get::plain("useridentity", Kept::Config),
    Get::plain("userroles", Kept::Config),
    Get::plain("userroles/{ids}", Kept::Config),
];

const POSTS: &[&str] = &[
    "assertions",
    "contacts",
    "folders",
    "insights",
    "instances",
    "instanttests",
    "instanttests/{ids}",
    "labels",
    "library/asns",
    "library/credentials",
    "nodes/chromeversions",
    "nodes/groups",
    "products",
    "slapurgeitems",
    "slo",
    "tests",
    "tests/scriptconvert",
    "testtemplates",
    "userroles",
    "workflow/{token}",
];

const PATCHES: &[&str] = &[
    "assertions",
    "contacts/{ids}",
    "endpoints/device/label",
    "endpoints/device/status",
    "endpoints/device/{ids}",
    "folders/{ids}",
    "insights/{ids}/{token}",
    "instances/status",
    "instances/{ids}",
    "labels/{ids}",
    "library/asns/{ids}",
    "library/credentials/{ids}",
    "nodes/groups",
    "nodes/state",
    "nodes/status",
    "nodes/{ids}",
    "products/{ids}",
    "slapurgeitems/status",
    "slapurgeitems/{ids}",
    "slo/{ids}",
    "tests/alert/state",
    "tests/alerts",
    "tests/{ids}",
    "testtemplates/{ids}",
    "userroles/{ids}",
];

const DELETES: &[&str] = &[
    "assertions",
    "contacts",
    "labels/{ids}",
    "library/asns/{ids}",
    "library/credentials/{ids}",
    "nodes/groups",
    "slo/{ids}",
    "tests/{ids}",
    "userroles",
];

/// POSTs that change nothing.
const READING_POSTS: &[&str] = &["nodes/chromeversions", "tests/scriptconvert"];

/// The GETs by their first segment and how many they have, in the order of [`GETS`].
type Index = HashMap<(&'static str, usize), Vec<(Vec<&'static str>, &'static Get)>>;

/// Made once: every request is looked up several times.
static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index::new();
    for get in GETS {
        let wanted: Vec<_> = get.path.split('/').collect();
        index.entry((wanted[0], wanted.len())).or_default().push((wanted, get));
    }
    index
});

/// The documented GET that these folded segments name.
pub(super) fn get(segments: &[&str]) -> Option<&'static Get> {
    let alike = INDEX.get(&(*segments.first()?, segments.len()))?;
    let (_, get) = alike.iter().find(|(wanted, _)| is_at(wanted.iter().copied(), segments))?;
    Some(get)
}

/// Whether it is a documented request other than a GET; none of those is analytic.
pub(super) fn is_known_write(method: &Method, segments: &[&str]) -> bool {
    let paths = match *method {
        Method::POST => POSTS,
        Method::PATCH => PATCHES,
        Method::DELETE => DELETES,
        _ => return false,
    };
    paths.iter().any(|path| is_at(path.split('/'), segments))
}

pub(super) fn is_reading_post(segments: &[&str]) -> bool {
    READING_POSTS.iter().any(|path| is_at(path.split('/'), segments))
}

fn is_at(mut wanted: impl Iterator<Item = &'static str>, segments: &[&str]) -> bool {
    let fits = |is: &&str| match wanted.next() {
        None => false,
        Some("{token}") => true,
        Some("{ids}") => is.bytes().all(|b| b.is_ascii_digit() || matches!(b, b',' | b' ')),
        Some(want) => want == *is,
    };
    segments.iter().all(fits) && wanted.next().is_none()
}
