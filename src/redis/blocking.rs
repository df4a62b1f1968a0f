//! A connection without a runtime, for properties that turn the clocks by hand.

use ::redis::Value;

use super::{Answer, Script, Server, answer};

/// Waits for every answer.
pub(crate) struct Blocking(::redis::Connection);

impl Server {
    pub(crate) fn blocking(&self) -> Blocking {
        Blocking(self.client.get_connection().expect("the test's own server is up"))
    }
}

impl Blocking {
    pub(crate) fn run(&mut self, script: &Script, keys: &[String], argument: &str) -> Answer {
        let mut call = script.0.key(keys);
        call.arg(argument);
        answer(call.invoke::<Value>(&mut self.0).unwrap_or_else(|error| panic!("{error}: {argument}")))
    }

    pub(crate) fn command(&mut self, words: &[&str]) -> Answer {
        let mut command = ::redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        answer(command.query::<Value>(&mut self.0).expect("the command is known"))
    }
}
