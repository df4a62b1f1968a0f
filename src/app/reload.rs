//! Another configuration under load: on SIGHUP, when a file has changed, and when
//! an operator asks.
//!
//! The whole of it is read and checked first; a wrong one changes nothing. What is
//! adopted is adopted as a whole (`Gateway::adopt`), one reload at a time, by this
//! one task. A file counts as changed when it has been the same for two looks in a
//! row, so that one that is being written is not read half.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::files::Watch;
use super::{systemd, token_key, watched};
use crate::admin::{Admin, Adopted, Order, Verdict};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::proxy::Gateway;
use crate::secret::{Secret, TokenHash};
use crate::token::Issuer;

/// From one look at the files to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where the configuration came from, and can be read again.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// The environment of this process.
    pub env: Vec<(String, String)>,
}

/// Carries out reloads.
pub(super) struct Reloader {
    pub(super) origin: Origin,
    pub(super) gateway: Arc<Gateway>,
    pub(super) admin: Arc<Admin>,
    pub(super) clock: Clock,
    /// What holds, as far as only a restart can change it.
    pub(super) fixed: Fixed,
    /// Which key signs tokens, once one does.
    pub(super) signs: Option<TokenHash>,
    pub(super) watch: Watch,
}

/// What cannot change live, each with the words that say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fixed(Vec<(&'static str, String)>);

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        Self(vec![
            ("server.listen", format!("{:?}", config.server.listen)),
            ("server.tls", format!("{:?}", config.server.tls)),
            ("server.shutdown_grace", format!("{:?}", config.server.shutdown_grace)),
            ("admin.listen", config.admin.listen.to_string()),
            ("store", format!("{:?}", config.store)),
            ("telemetry", format!("{:?}", config.otlp)),
        ])
    }

    /// What of `wanted` has to wait for a restart.
    fn apart_from(&self, wanted: &Self) -> Vec<String> {
        let pairs = self.0.iter().zip(&wanted.0).filter(|(is, wanted)| is != wanted);
        pairs.map(|((key, _), _)| after_restart(key)).collect()
    }
}

fn after_restart(key: &str) -> String {
    format!("{key} has changed: that holds after a restart")
}

/// Which key signs the tokens that weir issues; none if there is none yet.
pub(super) fn signs(key: Option<&Secret>) -> Option<TokenHash> {
    key.map(|key| TokenHash::of(key.expose().as_bytes()))
}

impl Reloader {
    /// Until weir stops.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        mut hangups: tokio::signal::unix::Signal,
        stopped: watch::Receiver<bool>,
    ) {
        let mut next = self.clock.now() + LOOK_EVERY;
        loop {
            tokio::select! {
                biased;
                () = super::until(stopped.clone()) => return,
                order = orders.recv() => {
                    let Some(Order(tell)) = order else { return };
                    let verdict = self.reload("asked for").await;
                    // Whoever asked may have gone.
                    let _ = tell.send(verdict);
                }
                Some(()) = hangups.recv() => drop(self.reload("SIGHUP").await),
                () = self.clock.sleep_until(next) => {
                    next = self.clock.now() + LOOK_EVERY;
                    if self.watch.has_changed().await {
                        self.reload("a file has changed").await;
                    }
                }
            }
        }
    }

    async fn reload(&mut self, why: &'static str) -> Verdict {
        systemd::reloading();
        // Before it is read: what changes meanwhile is seen at the next look.
        self.watch.remember().await;
        let origin = self.origin.clone();
        let read = tokio::task::spawn_blocking(move || config::load(&origin.file, origin.env.into_iter()));
        let verdict = match read.await {
            Ok(Ok(config)) => self.adopt(config).await,
            Ok(Err(mistakes)) => Verdict::Refused(mistakes.iter().map(str::to_owned).collect()),
            Err(error) => Verdict::Refused(vec![format!("the configuration could not be read: {error}")]),
        };
        match &verdict {
            Verdict::Adopted(adopted) => {
                for words in adopted.warnings.iter().chain(&adopted.needs_restart) {
                    tracing::warn!("{words}");
                }
                tracing::info!(why, "reloaded: the new configuration holds");
            }
            Verdict::Refused(mistakes) => {
                for mistake in mistakes {
                    tracing::error!("{mistake}");
                }
                tracing::error!(why, mistakes = mistakes.len(), "not reloaded: the old configuration holds");
            }
        }
        self.admin.reloads().count(&verdict, self.clock.wall());
        systemd::ready();
        verdict
    }

    async fn adopt(&mut self, config: Config) -> Verdict {
        let gateway = Arc::clone(&self.gateway);
        let (files, warnings) = (config.files.clone(), config.warnings.clone());
        let mut needs_restart = self.fixed.apart_from(&Fixed::of(&config));
        let admin = config.admin.clone();
        // Reads TLS roots, and may take its time with many consumers.
        let adopt = move || -> anyhow::Result<Option<TokenHash>> {
            let key = token_key::of(&config)?;
            // Who signs already goes on signing; the first upstream that wants it may come now.
            gateway.adopt(&config, key.as_ref().map(Issuer::new))?;
            Ok(signs(key.as_ref()))
        };
        match tokio::task::spawn_blocking(adopt).await {
            Ok(Ok(signs)) => {
                match (self.signs, signs) {
                    (Some(is), Some(wanted)) if is != wanted => {
                        needs_restart.push(after_restart("server.token_key"))
                    }
                    (None, first) => self.signs = first,
                    _ => {}
                }
                self.admin.show(&admin, watched(&self.gateway));
                self.watch.follow(files).await;
                Verdict::Adopted(Adopted { needs_restart, warnings })
            }
            Ok(Err(error)) => Verdict::Refused(vec![format!("{error:#}")]),
            Err(error) => Verdict::Refused(vec![format!("the configuration could not be adopted: {error}")]),
        }
    }
}
