//! Why a walk over pages has no answer.

use http::StatusCode;

use crate::dialect::NotAPage;

/// What is said instead of a list that is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum NotWhole {
    /// Nothing here is walked.
    #[error("Weir-Pages is for GETs of lists whose pages weir knows; this is none")]
    NoList,
    /// There are more pages than are walked.
    #[error(
        "this list has more than {most} pages, the most that are walked; ask for larger pages or for less"
    )]
    TooMany {
        /// `max_pages`.
        most: u32,
    },
    /// There are more bytes.
    #[error("this list is larger than 16 MiB, the most that is walked; ask for less, or page by page")]
    TooLarge,
    /// All walks together hold as much as they may.
    #[error("too much is held for lists under way; try again")]
    Full,
    /// A page was answered with an error.
    #[error("page {page} of the list was answered {status}, and a list without it is not whole")]
    Answered {
        /// From 1.
        page: u32,
        /// The vendor's.
        status: StatusCode,
    },
    /// A page came to no end.
    #[error("page {page} of the list broke off")]
    BrokeOff {
        /// From 1.
        page: u32,
    },
    /// A page is none.
    #[error("page {page} cannot be part of a whole list: {why}")]
    Page {
        /// From 1.
        page: u32,
        /// Why not.
        why: NotAPage,
    },
    /// A link leads elsewhere.
    #[error("page {page} says that the next one is where no page of this list can be")]
    Elsewhere {
        /// From 1.
        page: u32,
    },
}

impl NotWhole {
    /// One word or two for the log, and for `Proxy-Status`.
    pub(in crate::proxy) fn as_str(self) -> &'static str {
        match self {
            Self::NoList => "no-list",
            Self::TooMany { .. } => "too-many-pages",
            Self::TooLarge => "pages-too-large",
            Self::Full => "walks-full",
            Self::Answered { .. } => "page-failed",
            Self::BrokeOff { .. } => "page-broke-off",
            Self::Page { .. } | Self::Elsewhere { .. } => "no-page",
        }
    }

    /// Whether another request would do better.
    pub(in crate::proxy) fn is_callers(self) -> bool {
        match self {
            Self::NoList | Self::TooMany { .. } | Self::TooLarge => true,
            Self::Full
            | Self::Answered { .. }
            | Self::BrokeOff { .. }
            | Self::Page { .. }
            | Self::Elsewhere { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_the_page() {
        let fault = NotWhole::Page { page: 3, why: NotAPage::Loop };
        assert_eq!(
            fault.to_string(),
            "page 3 cannot be part of a whole list: it leads back to a page before it"
        );
        assert!(!fault.is_callers() && NotWhole::TooLarge.is_callers());
    }
}
