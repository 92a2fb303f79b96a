//! Asking the daemon.

use std::path::Path;
use std::time::Duration;

use ha_core::control::protocol::{Reply, Request};
use ha_core::control::{Client, ClientError, Exit, ModuleStatus, Refused};

/// Asks one question with one answer.
pub(super) fn once(socket: &Path, request: &Request) -> Result<Reply, Refused> {
    within(socket, request, PATIENCE)
}

/// Likewise, with so much patience.
pub(super) fn within(
    socket: &Path,
    request: &Request,
    patience: Duration,
) -> Result<Reply, Refused> {
    let mut answers = Answers::of(socket, request, Some(patience))?;
    answers.next()?.ok_or_else(|| Refused::new(Exit::Unavailable, "the daemon has ended"))
}

/// How modules are doing.
pub(super) fn status(
    socket: &Path,
    module: Option<&str>,
    patience: Duration,
) -> Result<Vec<ModuleStatus>, Refused> {
    let request = Request::Status { module: module.map(Into::into), watch: false };
    match within(socket, &request, patience)? {
        Reply::Status(modules) => Ok(modules),
        Reply::Farms(_) => {
            let text = "the daemon is a farm's, and that is a mirror's: see ha --help";
            Err(Refused::new(Exit::Usage, text))
        }
        other => Err(strange(&other)),
    }
}

/// The answers to a request, one after the other.
pub(super) struct Answers {
    client: Client,
    patience: Option<Duration>,
}

impl Answers {
    /// Asks. Each answer may take `patience`, or for ever.
    pub(super) fn of(
        socket: &Path,
        request: &Request,
        patience: Option<Duration>,
    ) -> Result<Self, Refused> {
        Ok(Self {
            client: Client::ask(socket, request).map_err(|error| unreachable(&error))?,
            patience,
        })
    }

    /// The number of the daemon's process.
    pub(super) fn process(&self) -> Option<i32> {
        self.client.process()
    }

    /// The next one; `None` when there are no more. A refusal is an error.
    pub(super) fn next(&mut self) -> Result<Option<Reply>, Refused> {
        match self.client.next(self.patience).map_err(|error| unreachable(&error))? {
            Some(Reply::Refused(refused)) => Err(refused),
            other => Ok(other),
        }
    }
}

fn unreachable(error: &ClientError) -> Refused {
    let exit = match error {
        ClientError::Denied { .. } => Exit::Denied,
        ClientError::NoDaemon { .. }
        | ClientError::Silent { .. }
        | ClientError::Io { .. }
        | ClientError::Strange { .. } => Exit::Unavailable,
    };
    Refused::new(exit, error.to_string())
}

/// An answer to another question.
pub(super) fn strange(_: &Reply) -> Refused {
    let text = "the daemon answers another question: install the same release of both";
    Refused::new(Exit::Unavailable, text)
}

/// How long a daemon may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
