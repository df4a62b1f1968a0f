//! What a configuration means, for whoever wrote it (`weir check`).

use super::Config;

/// What was understood and what it means in requests per minute and day.
#[must_use]
pub fn report(config: &Config) -> String {
    config.warnings.join("\n")
}
