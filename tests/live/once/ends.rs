//! Ends: of the command by signals, of the processes beside it, of the network. Whatever dies or freezes, no two commands overlap.

use std::time::Duration;

use rustix::process::Signal;
use setkeeper::processes::Process;

use super::{Once, Place, SESSION, key, long, script, send};
use crate::support::eventually;
use crate::support::proxy::{Network, Proxy};
use crate::support::server::Server;
use crate::support::tree::Tree;

/// A command that runs until it is ended, and another one that waits for its turn.
struct Scene {
    server: Server,
    place: Place,
    first: Once,
    second: Once,
    commands: Vec<Process>,
}

impl Scene {
    async fn new(script: &str) -> Self {
        let (server, place) = (Server::start().await, Place::new());
        let first = place.once("first", &server.connect(), &key("1"), script);
        first.begun("first").await;
        let second = place.once("second", &server.connect(), &key("1"), &super::script(5, "exit 0"));
        second.says("waiting for db, which first@").await;
        let commands = first.commands();
        assert!(!commands.is_empty());
        Self { server, place, first, second, commands }
    }

    /// Waits until the second one has run, and fails unless every process of the first one's command had ended before. What the
    /// second one's command wrote first is later than all that the first one's wrote.
    async fn never_overlaps(self) -> (Server, Place, Once) {
        let ended = self.second.ends().await;
        assert_eq!(ended.code, 0, "{}", ended.err);
        assert_eq!(self.place.begins(), 2, "{:?}", self.place.log());
        let ((_, last), (begun, _)) = (self.place.span("first"), self.place.span("second"));
        eprintln!("the second began {:.2} s after the first wrote last", begun - last);
        assert!(last <= begun, "{last} {begun}");
        for process in &self.commands {
            assert!(!process.is_alive(), "{process:?}");
        }
        (self.server, self.place, self.first)
    }
}

/// What ignores TERM, and has a child in a session of its own.
fn stubborn() -> String {
    format!("trap '' TERM; (setsid sh -c 'trap \"\" TERM; sleep 300' &); {}", long())
}

#[tokio::test]
async fn a_signal_goes_to_the_whole_process_group_and_its_end_is_not_recorded() {
    let cases = [(Signal::TERM, 143), (Signal::INT, 130)];
    for (signal, code) in cases {
        // What is in the background of a shell hears of a signal only as one of the group.
        let background = "sh -c 'trap \"echo background ends 0 >>$LOG; exit\" TERM INT; while :; do sleep 0.05; done' &";
        let scene = Scene::new(&format!("{background} {}", long())).await;
        let tree = Tree::at(&scene.server.connect()).await;
        scene.first.signal(signal);
        let Scene { server: _server, place, first, second, commands } = scene;
        let ended = first.ends().await;
        assert_eq!(ended.code, code, "{}", ended.err);
        assert!(ended.err.contains("nothing is recorded"), "{}", ended.err);
        assert!(commands.iter().all(|process| !process.is_alive()));
        assert_eq!(second.ends().await.code, 0, "the next one runs it");
        assert!(place.log().iter().any(|(who, ..)| who == "background"), "{:?}", place.log());
        assert_eq!(place.begins(), 2);
        assert_eq!(tree.json("once/db/1").await.unwrap()["by"], "second");
    }
}

#[tokio::test]
async fn what_a_command_makes_of_a_signal_is_its_own() {
    let (server, place) = (Server::start().await, Place::new());
    let trapping = format!("trap 'echo \"$NAME usr1 0\" >>$LOG' USR1; trap 'exit 0' TERM; {}", long());
    let one = place.once("a", &server.connect(), &key("1"), &trapping);
    one.begun("a").await;
    one.signal(Signal::USR1);
    eventually("the signal arrives", async || place.log().iter().any(|(_, what, _)| what == "usr1").then_some(())).await;
    one.signal(Signal::TERM);
    assert_eq!(one.ends().await.code, 0);
    let later = place.once("b", &server.connect(), &key("1"), "exit 9").ends().await;
    assert_eq!(later.code, 0, "it was done in spite of the signal: {}", later.err);
}

#[tokio::test]
async fn who_waits_ends_at_once_when_told_to_stop_and_leaves_the_line() {
    let scene = Scene::new(&long()).await;
    let tree = Tree::at(&scene.server.connect()).await;
    assert_eq!(tree.names("locks/db").await.len(), 2);
    scene.second.signal(Signal::TERM);
    let Scene { server: _server, place, first: _first, second, .. } = scene;
    assert_eq!(second.ends().await.code, 143);
    assert_eq!(tree.names("locks/db").await.len(), 1);
    assert_eq!(place.begins(), 1);
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_before_the_lock_is_given_on() {
    let (server, place) = (Server::start().await, Place::new());
    let script = "(setsid sh -c 'trap \"\" TERM; while :; do read t _ </proc/uptime; echo \"first runs $t\" >>$LOG; sleep 0.05; done' &); sleep 1";
    let first = place.once("first", &server.connect(), &key("1"), script);
    first.begun("first").await;
    let second = place.once("second", &server.connect(), &key("2"), &super::script(1, "exit 0"));
    assert_eq!((first.ends().await.code, second.ends().await.code), (0, 0));
    assert!(place.span("first").1 <= place.span("second").0, "{:?}", place.log());
}

#[tokio::test]
async fn when_the_supervisor_is_killed_the_next_one_runs_it() {
    let scene = Scene::new(&stubborn()).await;
    scene.first.signal(Signal::KILL);
    scene.never_overlaps().await;
}

#[tokio::test]
async fn when_the_keeper_is_killed_the_command_ends_and_the_next_one_runs_it() {
    let scene = Scene::new(&stubborn()).await;
    send(scene.first.keeper(), Signal::KILL);
    let (_server, _place, first) = scene.never_overlaps().await;
    let ended = first.ends().await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("error: the process that keeps the lock has ended, and the command was ended"), "{}", ended.err);
}

#[tokio::test]
async fn a_keeper_that_is_frozen_beyond_its_session_has_no_command_left_when_the_next_one_begins() {
    let scene = Scene::new(&stubborn()).await;
    let keeper = scene.first.keeper();
    send(keeper, Signal::STOP);
    let (server, _place, first) = scene.never_overlaps().await;
    send(keeper, Signal::CONT);
    assert_eq!(first.ends().await.code, 1);
    let tree = Tree::at(&server.connect()).await;
    assert_eq!(tree.json("once/db/1").await.unwrap()["by"], "second", "who has lost the lock records nothing");
}

#[tokio::test]
async fn a_supervisor_that_is_frozen_has_no_command_left_when_the_next_one_begins() {
    let scene = Scene::new(&stubborn()).await;
    scene.first.signal(Signal::STOP);
    let (_server, _place, first) = scene.never_overlaps().await;
    first.signal(Signal::CONT);
    let ended = first.ends().await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("the supervisor of the command does not answer"), "{}", ended.err);
}

#[tokio::test]
async fn a_family_that_was_frozen_as_a_whole_ends_as_soon_as_it_wakes_and_records_nothing() {
    let scene = Scene::new(&long()).await;
    let family: Vec<i32> =
        [scene.first.keeper(), scene.first.pid()].into_iter().chain(scene.commands.iter().map(|one| one.pid)).collect();
    for pid in &family {
        send(*pid, Signal::STOP);
    }
    let Scene { server, place, first, second, commands } = scene;
    assert_eq!(second.ends().await.code, 0);
    for pid in family.iter().rev() {
        send(*pid, Signal::CONT);
    }
    assert_eq!(first.ends().await.code, 1);
    assert!(commands.iter().all(|process| !process.is_alive()));
    let woken: Vec<_> =
        place.log().into_iter().skip_while(|(who, ..)| who == "first").filter(|(who, ..)| who == "first").collect();
    eprintln!("after waking it wrote {} lines", woken.len());
    assert!(woken.len() <= 10, "half a second at most: {woken:?}");
    let tree = Tree::at(&server.connect()).await;
    assert_eq!(tree.json("once/db/1").await.unwrap()["by"], "second");
}

#[tokio::test]
async fn a_command_that_is_cut_off_from_zookeeper_ends_before_its_session_does() {
    let (server, place) = (Server::start().await, Place::new());
    let proxy = Proxy::before(server.port).await;
    let first = place.once("first", &proxy.connect(), &key("1"), &stubborn());
    first.begun("first").await;
    let second = place.once("second", &server.connect(), &key("1"), &script(5, "exit 0"));
    second.says("waiting for db, which first@").await;
    let tree = Tree::at(&server.connect()).await;
    let commands = first.commands();
    proxy.set(Network::Dead);
    // The server itself says when the session is over: the contender is gone.
    let dead = eventually("the command is killed", async || commands.iter().all(|one| !one.is_alive()).then_some(()));
    dead.await;
    assert_eq!(tree.names("locks/db").await.len(), 2, "the command has ended, and the session has not");
    let ended = first.ends().await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("error: lost the lock db: the command was ended"), "{}", ended.err);
    assert!(ended.err.contains("hint: ") && ended.err.contains("session_timeout"), "{}", ended.err);
    assert_eq!(second.ends().await.code, 0);
    assert!(place.span("first").1 <= place.span("second").0);
}

#[tokio::test]
async fn a_short_cut_of_the_connection_costs_nothing() {
    let (server, place) = (Server::start().await, Place::new());
    let proxy = Proxy::before(server.port).await;
    let one = place.once("a", &proxy.connect(), &key("1"), &script(60, "exit 0"));
    one.begun("a").await;
    for _ in 0..3 {
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(one.ends().await.code, 0);
    assert_eq!(place.begins(), 1);
    assert!(SESSION > Duration::from_secs(3));
}

#[tokio::test]
async fn who_deletes_the_contender_ends_the_command() {
    let scene = Scene::new(&long()).await;
    let tree = Tree::at(&scene.server.connect()).await;
    let mut names = tree.names("locks/db").await;
    names.sort_by_key(|name| name.rsplit('-').next().unwrap().to_owned());
    tree.delete(&format!("locks/db/{}", names[0])).await;
    let ended = scene.first.ends().await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("is gone") && ended.err.contains("lost the lock db"), "{}", ended.err);
    assert_eq!(scene.second.ends().await.code, 0);
}

#[tokio::test]
async fn as_process_1_it_reaps_signals_and_ends_as_ever() {
    let (server, place) = (Server::start().await, Place::new());
    let contained = |name: &str, key: &str, script: &str| {
        let unshare = ["unshare", "-Urpf", "--mount-proc", "--kill-child"];
        place.wrapped(&unshare, name, &["--connect", &server.connect()], &["--key", key], script)
    };
    let orphans = "(setsid sleep 0.2 &); sleep 1; echo \"zombies $(grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l) 0\" >>$LOG; exit 6";
    assert_eq!(contained("a", "1", orphans).ends().await.code, 6);
    assert!(place.log().iter().any(|(who, what, _)| who == "zombies" && what == "0"), "{:?}", place.log());
    let stopped = contained("b", "2", &long());
    stopped.begun("b").await;
    send(stopped.below().iter().find(|process| process.parent == stopped.pid()).unwrap().pid, Signal::TERM);
    assert_eq!(stopped.ends().await.code, 143);
}
