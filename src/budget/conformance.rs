//! What holds of an account whatever keeps its charges (DESIGN, laws 1 to 9): each statement
//! is written once, about the public face of a [`Budget`](super::Budget), and runs over the
//! file of one process, over a real redis-server with one, and over one with three.
//!
//! The clock stands still unless a statement turns it, and what is asked of the store takes
//! no time on it, so that moments are exact: see `house`. What delays, faults and random
//! histories do is for the properties in `laws` and `shared::tests`.

mod edges;
mod ends;
mod house;
mod limits;
mod line;
mod loss;
mod pace;
mod turns;
mod weir;

use house::Site;

macro_rules! statements {
    ($site:ident, $of:expr => $($group:ident :: $name:ident),+ $(,)?) => {
        mod $site {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$group::$name($of).await;
            })+
        }
    };
    ($($group:ident :: $name:ident),+ $(,)?) => {
        statements![embedded, crate::budget::conformance::Site::Embedded => $($group::$name),+];
        statements![redis, crate::budget::conformance::Site::Redis { replicas: 1 } => $($group::$name),+];
        statements![replicas, crate::budget::conformance::Site::Redis { replicas: 3 } => $($group::$name),+];
    };
}

statements![
    limits::no_window_of_any_phase_holds_more_than_its_limit,
    limits::a_request_is_charged_to_all_of_its_limits_or_to_none,
    limits::what_never_left_is_given_back_at_once,
    limits::nothing_one_tick_before_retry_after_and_a_yes_at_it,
    limits::a_cap_bounds_its_owner_and_blocks_nobody_else,
    limits::a_reserve_is_held_for_its_owner,
    ends::what_was_answered_counts_until_w_and_slack_after_its_head,
    ends::what_was_given_up_counts_linger_longer,
    ends::what_was_promised_to_be_counted_early_lapses_early,
    ends::a_kill_forgets_nothing,
    ends::names_that_are_gone_count_at_the_account,
    ends::a_new_limit_counts_what_was_charged_before_it,
    ends::a_new_limit_goes_on_counting_it_after_another_kill,
    ends::a_new_limit_goes_on_counting_it_for_as_long_as_it_looks_back,
    ends::a_limit_that_comes_back_counts_what_was_charged_meanwhile,
    ends::a_kill_charges_no_limit_that_did_not_count_it,
    turns::under_saturation_everyone_gets_its_share,
    turns::who_hangs_up_leaves_its_place,
    turns::who_waits_hears_no_at_its_deadline,
    turns::of_those_who_join_one_pays,
    turns::what_needs_nobody_takes_no_slot_that_somebody_wants,
    edges::a_day_ends_when_its_edge_has_surely_passed,
    edges::what_is_under_way_over_the_edge_counts_on_both_sides,
    edges::a_kill_forgets_no_day,
    pace::evenly_spaced_requests_keep_their_distance,
    pace::a_kill_forgets_no_distance,
    pace::who_only_observes_never_waits_and_is_counted,
];

statements![only_redis, crate::budget::conformance::Site::Redis { replicas: 1 } =>
    loss::what_is_heard_too_late_is_charged_to_nobody,
    loss::while_nothing_answers_nothing_leaves_and_then_it_goes_on,
];
