//! Links in answers (`next`, `Location`) on their way back through weir.
//!
//! A link is rewritten only if it points to the upstream itself; it never takes
//! up the caller's `Host`. What points elsewhere is dropped by whoever asked:
//! following it would carry a consumer's weir token to a stranger.

/// Where the upstream is and where its consumers think it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// `https` or `http`.
    pub scheme: String,
    /// `host` or `host:port` of the upstream.
    pub authority: String,
    /// Put before every path that is sent: empty, or `/x` without a trailing slash.
    pub base_path: String,
    /// Cut from every path that is received: empty, or `/x` without a trailing slash.
    pub mount: String,
    /// Scheme and authority under which consumers reach this upstream, if known.
    pub public_url: Option<String>,
}

/// What becomes of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewritten {
    /// It is right as it is.
    Same,
    /// This instead.
    To(String),
    /// It does not point to the upstream, or nobody could say where to.
    Foreign,
}

impl Links {
    /// What becomes of `link`, a URI reference (RFC 3986, section 4.1).
    #[must_use]
    pub fn rewrite(&self, link: &str) -> Rewritten {
        // Browsers read a backslash as a slash and drop tabs and line ends: what
        // they make of such a link is not what we would have checked.
        if link.bytes().any(|b| b.is_ascii_control() || matches!(b, b'\\' | b' ')) {
            return Rewritten::Foreign;
        }
        let (path, root) = match Parts::of(link) {
            Parts::Absolute { scheme, authority, rest } => {
                if !self.is_upstream(scheme.unwrap_or(&self.scheme), authority) {
                    return Rewritten::Foreign;
                }
                let public = self.public_url.as_deref().unwrap_or_default();
                (rest, public.trim_end_matches('/'))
            }
            Parts::Rooted(path) => (path, ""),
            Parts::Within(path) if has_dot_segment(path) => return Rewritten::Foreign,
            Parts::Within(_) => return Rewritten::Same,
            Parts::OtherScheme => return Rewritten::Foreign,
        };
        let Some(path) = self.below_base(path) else {
            return Rewritten::Foreign;
        };
        // Root-relative, `//x` would name another host.
        if path.starts_with("//") || has_dot_segment(path) {
            return Rewritten::Foreign;
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let to = format!("{root}{}{slash}{path}", self.mount);
        if to == link { Rewritten::Same } else { Rewritten::To(to) }
    }

    /// The path below the base path that `link`, a reference in the answer to a request
    /// for `from` (below the base path), points to at this upstream; none if it points
    /// elsewhere. Without query and fragment.
    #[must_use]
    pub fn path_here(&self, link: &str, from: &str) -> Option<String> {
        let (path, is_sent) = match Parts::of(link) {
            Parts::Absolute { scheme, authority, rest } => {
                let is_ours = self.is_upstream(scheme.unwrap_or(&self.scheme), authority);
                (is_ours.then_some(rest)?.to_owned(), true)
            }
            Parts::Rooted(path) => (path.to_owned(), true),
            Parts::Within("") => (from.to_owned(), false),
            Parts::Within(path) if path.starts_with(['?', '#']) => (from.to_owned(), false),
            Parts::Within(path) => {
                let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
                (format!("{folder}/{path}"), false)
            }
            Parts::OtherScheme => return None,
        };
        let path = if is_sent { self.below_base(&path)? } else { &path };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        Some(if path.is_empty() { "/".to_owned() } else { path.to_owned() })
    }

    /// Whether `scheme://authority` is the upstream. Vendors behind a TLS
    /// terminator are known to write `http://` for themselves: with both on their
    /// default ports that is still the same host, and is never fetched that way.
    fn is_upstream(&self, scheme: &str, authority: &str) -> bool {
        let (ours, our_port) = split_port(&self.scheme, &self.authority);
        let (theirs, their_port) = split_port(scheme, authority);
        let same_scheme = scheme.eq_ignore_ascii_case(&self.scheme);
        ours.eq_ignore_ascii_case(theirs)
            && match (our_port, their_port) {
                (None, None) => true,
                (ours, theirs) => same_scheme && ours == theirs,
            }
    }

    /// The path (with query and fragment) as a consumer would ask for it.
    fn below_base<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.base_path.as_str())?;
        rest.is_empty().then_some(rest).or_else(|| rest.starts_with(['/', '?', '#']).then_some(rest))
    }
}

/// A URI reference, taken apart as far as it matters here.
enum Parts<'a> {
    /// `scheme://authority/rest` or `//authority/rest`; the rest may be empty.
    Absolute { scheme: Option<&'a str>, authority: &'a str, rest: &'a str },
    /// `/path…`.
    Rooted(&'a str),
    /// `path…`, `?query`, `#fragment` or nothing: relative to the request's own URL.
    Within(&'a str),
    /// `mailto:…`, `javascript:…`.
    OtherScheme,
}

impl<'a> Parts<'a> {
    fn of(link: &'a str) -> Self {
        if let Some(rest) = link.strip_prefix("//") {
            return Self::absolute(None, rest);
        }
        if link.starts_with('/') {
            return Self::Rooted(link);
        }
        let end = link.find(['/', '?', '#']).unwrap_or(link.len());
        match link[..end].split_once(':') {
            None => Self::Within(link),
            Some((scheme, _)) => match link[scheme.len()..].strip_prefix("://") {
                Some(rest) if is_web(scheme) => Self::absolute(Some(scheme), rest),
                _ => Self::OtherScheme,
            },
        }
    }

    fn absolute(scheme: Option<&'a str>, rest: &'a str) -> Self {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        Self::Absolute { scheme, authority: &rest[..end], rest: &rest[end..] }
    }
}

fn is_web(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
}

/// The host and its port, if it is not the scheme's own. User information stays
/// with the host and so never equals ours.
fn split_port<'a>(scheme: &str, authority: &'a str) -> (&'a str, Option<&'a str>) {
    let default = if scheme.eq_ignore_ascii_case("https") { "443" } else { "80" };
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            (host, Some(port).filter(|port| !port.is_empty() && *port != default))
        }
        _ => (authority, None),
    }
}

/// A client resolves dot segments before it asks, and so could leave the mount.
fn has_dot_segment(link: &str) -> bool {
    let path = &link[..link.find(['?', '#']).unwrap_or(link.len())];
    let is_dots = |segment: &str| {
        let decoded = segment.to_ascii_lowercase().replace("%2e", ".");
        decoded == "." || decoded == ".."
    };
    path.split('/').any(is_dots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(base_path: &str, mount: &str, public_url: Option<&str>) -> Links {
        Links {
            scheme: "https".into(),
            authority: "io.example.com".into(),
            base_path: base_path.into(),
            mount: mount.into(),
            public_url: public_url.map(Into::into),
        }
    }

    fn to(link: &str) -> Rewritten {
        Rewritten::To(link.into())
    }

    #[test]
    fn the_upstreams_own_links_come_back_through_weir() {
        let plain = links("", "", None);
        let mounted = links("", "/cp", Some("https://weir.internal/"));
        assert_eq!(plain.rewrite("/api/v2/tests?pageNumber=2"), Rewritten::Same);
        assert_eq!(mounted.rewrite("/api/v2/tests?a=b#c"), to("/cp/api/v2/tests?a=b#c"));
        for own in [
            "https://io.example.com",
            "HTTPS://IO.example.com:443",
            "http://io.example.com",
            "//io.example.com:",
        ] {
            let link = format!("{own}/api/v2/tests?a=//x");
            assert_eq!(plain.rewrite(&link), to("/api/v2/tests?a=//x"), "{link}");
            assert_eq!(mounted.rewrite(&link), to("https://weir.internal/cp/api/v2/tests?a=//x"), "{link}");
        }
        assert_eq!(mounted.rewrite("https://io.example.com"), to("https://weir.internal/cp/"));
        assert_eq!(mounted.rewrite("https://io.example.com?a"), to("https://weir.internal/cp/?a"));
        for relative in ["", "?pageNumber=2", "tests/2", "#x"] {
            assert_eq!(mounted.rewrite(relative), Rewritten::Same, "{relative}");
        }
    }

    #[test]
    fn base_paths_are_cut_off() {
        let based = links("/base", "/cp", None);
        assert_eq!(based.rewrite("/base/x"), to("/cp/x"));
        assert_eq!(based.rewrite("https://io.example.com/base?x"), to("/cp/?x"));
        assert_eq!(based.rewrite("/other/x"), Rewritten::Foreign);
        assert_eq!(based.rewrite("/basement"), Rewritten::Foreign);
    }

    #[test]
    fn foreign_links_are_recognised() {
        let links = links("", "/cp", Some("https://weir.internal"));
        for foreign in [
            "https://evil.example/api",
            "https://io.example.com.evil.example/",
            "https://io.example.com@evil.example/",
            "https://user@io.example.com/",
            "https://io.example.com:8443/",
            "http://io.example.com:443/",
            "//evil.example/",
            "///evil.example",
            "/\\evil.example",
            "https:\\\\io.example.com/",
            "https:/io.example.com/",
            "/\t/evil.example",
            "/a/../../x",
            "https://io.example.com//evil.example/",
            "../x",
            "/a/%2E%2e/x",
            "mailto:a@io.example.com",
            "javascript:alert(1)",
            "ftp://io.example.com/",
        ] {
            assert_eq!(links.rewrite(foreign), Rewritten::Foreign, "{foreign}");
        }
    }

    #[test]
    fn paths_that_answers_name_are_found_at_the_upstream_only() {
        let links = Links {
            scheme: "https".into(),
            authority: "api.example".into(),
            base_path: "/base".into(),
            mount: "/m".into(),
            public_url: None,
        };
        let here = |link: &str| links.path_here(link, "/a/b");
        for (link, path) in [
            ("https://api.example/base/x?q=1", "/x"),
            ("//API.example:443/base", "/"),
            ("/base/y#f", "/y"),
            ("c", "/a/c"),
            ("?page=2", "/a/b"),
            ("", "/a/b"),
        ] {
            assert_eq!(here(link).as_deref(), Some(path), "{link}");
        }
        for foreign in
            ["https://other.example/base/x", "/elsewhere", "mailto:a@b", "http://api.example:8080/base/x"]
        {
            assert_eq!(here(foreign), None, "{foreign}");
        }
    }
}
