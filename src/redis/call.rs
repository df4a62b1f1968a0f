//! Bytes in and out of scripts, and what is published: for what is no text.

use std::time::Duration;

use ::redis::Value;
use ::redis::aio::PubSub;
use futures_util::StreamExt;

use super::{Answer, Connection, Gone, Script, Server, answer, gone};

/// What is published on one channel, from when it was asked for on.
pub struct News(PubSub);

impl Connection {
    /// The same connection for another who asks: calls are pipelined, answers in order.
    #[must_use]
    pub fn shared(&self) -> Self {
        Self { link: self.link.clone() }
    }

    /// Runs `script`, which the server does as one step.
    ///
    /// # Errors
    /// There is no answer `within` that time. It may be run all the same, later.
    pub async fn call(
        &mut self,
        script: &Script,
        keys: &[Vec<u8>],
        arguments: &[Vec<u8>],
        within: Duration,
    ) -> Result<Answer, Gone> {
        let mut call = script.0.prepare_invoke();
        for key in keys {
            call.key(key.as_slice());
        }
        for argument in arguments {
            call.arg(argument.as_slice());
        }
        match tokio::time::timeout(within, call.invoke_async::<Value>(&mut self.link)).await {
            Ok(Ok(value)) => Ok(answer(value)),
            Ok(Err(error)) => Err(gone(&error, within)),
            Err(_) => Err(Gone::TimedOut(within)),
        }
    }
}

impl Server {
    /// Connects, signs in, and asks for what is published on `channel`.
    ///
    /// # Errors
    /// It does not stand `within` that time, or not at all.
    pub async fn listen(&self, channel: &str, within: Duration) -> Result<News, Gone> {
        // In a cluster, what is published anywhere is heard at every node.
        let client = self.any()?;
        let listening = async {
            let mut link = client.get_async_pubsub().await?;
            link.subscribe(channel).await?;
            Ok(link)
        };
        let listening = tokio::time::timeout(within, listening).await;
        self.begun(matches!(listening, Ok(Ok(_))));
        match listening {
            Ok(Ok(link)) => Ok(News(link)),
            Ok(Err(error)) => Err(gone(&error, within)),
            Err(_) => Err(Gone::TimedOut(within)),
        }
    }
}

impl News {
    /// Whether the connection stands.
    ///
    /// # Errors
    /// There is no answer `within` that time.
    pub async fn prove(&mut self, within: Duration) -> Result<(), Gone> {
        match tokio::time::timeout(within, self.0.ping::<Value>()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(gone(&error, within)),
            Err(_) => Err(Gone::TimedOut(within)),
        }
    }

    /// The next message; none once the connection is gone. Safe to drop and call again.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let message = self.0.on_message().next().await?;
        Some(message.get_payload_bytes().to_vec())
    }
}

impl std::fmt::Debug for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("News")
    }
}
