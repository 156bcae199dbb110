//! The signals that a supervisor hears, as one stream.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Those that stop us, those that are passed on, and the end of a child.
const HEARD: [(Signal, &str); 10] = [
    (Signal::TERM, "TERM"),
    (Signal::INT, "INT"),
    (Signal::QUIT, "QUIT"),
    (Signal::HUP, "HUP"),
    (Signal::USR1, "USR1"),
    (Signal::USR2, "USR2"),
    (Signal::WINCH, "WINCH"),
    (Signal::TTIN, "TTIN"),
    (Signal::TTOU, "TTOU"),
    (Signal::CHILD, "CHLD"),
];

/// Its name.
pub(super) fn name(signal: Signal) -> &'static str {
    HEARD.iter().find(|(heard, _)| *heard == signal).map_or("another", |(_, name)| name)
}

/// Listens to all of them.
pub(super) fn listen() -> io::Result<mpsc::UnboundedReceiver<Signal>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for (heard, _) in HEARD {
        let mut stream = signal(SignalKind::from_raw(heard.as_raw()))?;
        let sender = sender.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && sender.send(heard).is_ok() {} });
    }
    Ok(receiver)
}
