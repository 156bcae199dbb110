//! Waiting for a file's content: the same for the floor and the agent, woken by the kernel, not by a clock.

use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

/// Waits for what is renamed to one path.
pub struct Waiter {
    inotify: OwnedFd,
    path: PathBuf,
}

impl Waiter {
    /// The folder of `path` must exist; the file need not.
    pub fn new(path: &Path) -> Self {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&inotify, path.parent().unwrap(), WatchFlags::MOVED_TO).unwrap();
        Self { inotify, path: path.to_owned() }
    }

    /// When the file first held `marker`; `None` if it did not within `patience`.
    pub fn until(&self, marker: &str, patience: Duration) -> Option<Instant> {
        let deadline = Instant::now() + patience;
        loop {
            let text = std::fs::read(&self.path).unwrap_or_default();
            if text.windows(marker.len()).any(|window| window == marker.as_bytes()) {
                return Some(Instant::now());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let left = Timespec::try_from(left).unwrap();
            poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], Some(&left)).unwrap();
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = Reader::new(&self.inotify, &mut buffer);
            while events.next().is_ok() {}
        }
    }
}
