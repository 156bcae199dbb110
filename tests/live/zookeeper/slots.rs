//! Reload slots: who gets one, who loses one, and who finds its own again.

use std::time::{Duration, Instant};

use setkeeper::live::board::{LiveBoard, Shared};
use setkeeper::model::digest::{Release, Revision};
use setkeeper::model::instance::InstanceId;
use setkeeper::model::slot::Slot;
use setkeeper::processes::clock::Moment;
use setkeeper::rollout::job::Leave;
use setkeeper::rollout::target::Goal;
use setkeeper::world::Board;
use setkeeper::zookeeper::cluster::{Cluster, LIMIT};
use setkeeper::zookeeper::edit::Expect;
use setkeeper::zookeeper::error::Error;
use setkeeper::zookeeper::link::{Link, Taken};
use setkeeper::zookeeper::releases::trim::Bounds;
use setkeeper::zookeeper::slots::judge::{Holder, Seeker};
use setkeeper::zookeeper::slots::{Held, Slots, Sought, new_boot};
use tokio::sync::watch;

use crate::support::agent::{access, settings};
use crate::support::eventually;
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::Server;
use crate::support::wire::Op;

const LEASE: Duration = Duration::from_secs(2);

async fn cluster(connect: &str) -> Cluster {
    Cluster::open(&access(&settings(connect)), LIMIT).await.unwrap()
}

fn seeker(instance: &str, count: u32) -> Seeker {
    Seeker { instance: InstanceId::parse(instance).unwrap(), boot: new_boot(), count, lease: LEASE }
}

fn revision() -> Revision {
    Revision::new("r")
}

fn held(sought: Sought) -> Held {
    match sought {
        Sought::Held(held) => held,
        other => panic!("{other:?}"),
    }
}

async fn holder(cluster: &Cluster) -> Holder {
    cluster.slots().await.unwrap().remove(0).holder
}

/// Whether something may be started now that takes so long.
fn may_start(held: &Held, takes: Duration) -> bool {
    Moment::now() + takes <= held.until()
}

#[tokio::test]
async fn of_many_takers_as_many_get_one_as_there_are_slots() {
    let server = Server::start().await;
    let takers = (0..8).map(|n| {
        let connect = server.connect();
        tokio::spawn(async move {
            let cluster = cluster(&connect).await;
            Slots::new(seeker(&format!("web-{n}"), 2)).seek(&cluster, &revision()).await.unwrap()
        })
    });
    let mut numbers = Vec::new();
    for taker in takers.collect::<Vec<_>>() {
        match taker.await.unwrap() {
            Sought::Held(held) => numbers.push(held.number()),
            Sought::Taken { .. } => {}
            other @ Sought::Recover(..) => panic!("{other:?}"),
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1], "law 5: never more than there are slots");
}

#[tokio::test]
async fn a_freed_slot_is_the_next_ones_and_a_kept_one_is_nobodys() {
    let server = Server::start().await;
    let cluster = cluster(&server.connect()).await;
    let (mut one, mut other) = (Slots::new(seeker("a", 1)), Slots::new(seeker("b", 1)));
    let mut held_by_one = held(one.seek(&cluster, &revision()).await.unwrap());
    let (_live, session) = watch::channel(Some(cluster.clone()));
    let until = watch::Sender::new(Moment::now());
    let mut kept = held_by_one.clone();
    let keep = kept.keep(&session, &until).await_for(2 * LEASE);
    let wait = async {
        let began = Instant::now();
        while began.elapsed() < 2 * LEASE {
            let Sought::Taken { by, .. } = other.seek(&cluster, &revision()).await.unwrap() else {
                panic!("taken from a living holder")
            };
            assert_eq!(by[0].instance.as_str(), "a");
            tokio::time::sleep(LEASE / 10).await;
        }
    };
    tokio::join!(keep, wait);
    assert!(!until.borrow().has_come());
    held_by_one.renew(&cluster).await.unwrap();
    held_by_one.free(&cluster).await.unwrap();
    assert_eq!(holder(&cluster).await, Holder::Nobody);
    assert_eq!(held(other.seek(&cluster, &revision()).await.unwrap()).number(), 0);
    held_by_one.free(&cluster).await.unwrap();
    assert!(matches!(holder(&cluster).await, Holder::Known(Slot { instance, .. }) if instance.as_str() == "b"));
}

trait AwaitFor: Future + Sized {
    /// Runs for so long and is dropped then.
    async fn await_for(self, length: Duration) {
        drop(tokio::time::timeout(length, self).await);
    }
}

impl<F: Future> AwaitFor for F {}

#[tokio::test]
async fn law_5_a_holder_frozen_beyond_its_lease_loses_the_slot_and_starts_nothing_when_it_wakes() {
    let server = Server::start().await;
    let cluster = cluster(&server.connect()).await;
    let mut frozen = held(Slots::new(seeker("a", 1)).seek(&cluster, &revision()).await.unwrap());
    assert!(may_start(&frozen, LEASE / 2));
    assert!(!may_start(&frozen, 2 * LEASE), "what cannot end within the lease is not begun");
    let mut other = Slots::new(seeker("b", 1));
    let began = Instant::now();
    let taken = loop {
        match other.seek(&cluster, &revision()).await.unwrap() {
            Sought::Held(held) => break held,
            Sought::Taken { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
            other @ Sought::Recover(..) => panic!("{other:?}"),
        }
    };
    assert!(began.elapsed() >= LEASE, "{:?}", began.elapsed());
    assert!(frozen.until().has_come(), "it could still have started something");
    assert!(!may_start(&frozen, Duration::from_millis(1)));
    assert!(matches!(frozen.renew(&cluster).await, Err(Error::SlotLost { .. })));
    frozen.free(&cluster).await.unwrap();
    assert!(matches!(holder(&cluster).await, Holder::Known(Slot { instance, .. }) if instance.as_str() == "b"));
    assert!(may_start(&taken, Duration::ZERO));
}

#[tokio::test]
async fn law_5_a_twin_under_the_same_id_neither_takes_nor_finds_a_slot() {
    let server = Server::start().await;
    let cluster = cluster(&server.connect()).await;
    held(Slots::new(seeker("a", 1)).seek(&cluster, &revision()).await.unwrap());
    let twins = cluster.slots().await.unwrap();
    let link = watch::Sender::new(Link { connected: true, ..Link::default() });
    let (_session, session) = watch::channel(Some(cluster.clone()));
    let mut board = LiveBoard::Shared(Box::new(Shared::new(seeker("a", 1), session, link.subscribe(), Bounds::LEAST)));
    let goal = Goal { release: Release::new("d"), revision: revision() };
    assert_eq!(board.take(&goal).await.unwrap(), Leave::NotNow, "nobody has said yet whose the id is");
    assert!(board.recall().await.is_err());
    let taken = Taken { owner: "0x7".to_owned(), host: None, pid: None, since: Instant::now(), overdue: false };
    link.send_modify(|link| link.taken = Some(taken));
    for fault in [board.take(&goal).await.map(drop), board.recall().await] {
        assert_eq!(fault.unwrap_err().message, "the id is held by session 0x7");
    }
    assert!(board.lease().is_none());
    assert_eq!(cluster.slots().await.unwrap(), twins, "the twin's slot was written");
    // Once the id is ours, so is what an earlier run of this agent left under it.
    link.send_modify(|link| (link.taken, link.registered) = (None, true));
    board.recall().await.unwrap();
    assert!(board.lease().is_some_and(|until| until > Instant::now()));
}

#[tokio::test]
async fn a_restarted_holder_finds_its_own_slot_and_what_it_was_for() {
    let server = Server::start().await;
    let cluster = cluster(&server.connect()).await;
    let mut before = held(Slots::new(seeker("a", 2)).seek(&cluster, &Revision::new("before")).await.unwrap());
    let mut after = Slots::new(seeker("a", 2));
    let Sought::Recover(mut found, earlier) = after.seek(&cluster, &revision()).await.unwrap() else { panic!("not found") };
    assert_eq!((found.number(), earlier.revision.as_str()), (before.number(), "before"));
    assert!(matches!(before.renew(&cluster).await, Err(Error::SlotLost { .. })), "the run before it has no say any more");
    found.renew(&cluster).await.unwrap();
    found.free(&cluster).await.unwrap();
    assert!(matches!(after.seek(&cluster, &revision()).await.unwrap(), Sought::Held(_)));
}

#[tokio::test]
async fn a_write_whose_answer_is_cut_off_is_recognized_as_our_own() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.port).await;
    let cluster = cluster(&proxy.connect()).await;
    let mut slots = Slots::new(seeker("a", 1));
    cluster.set("/superset/slots", Vec::new(), Expect::Absent).await.unwrap();
    let cut = proxy.once(Fate::CutInstead, |request| request.op == Op::Multi && request.path.contains("/slots"));
    let lost = slots.seek(&cluster, &revision()).await;
    assert!(*cut.borrow() && lost.as_ref().is_err_and(Error::is_loss), "{lost:?}");
    let mut held = held(eventually("a slot", async || slots.seek(&cluster, &revision()).await.ok()).await);
    let cut = proxy.once(Fate::CutInstead, |request| request.op == Op::Multi && request.path.ends_with("/slots/0"));
    assert!(held.renew(&cluster).await.unwrap_err().is_loss() && *cut.borrow());
    eventually("renewed", async || held.renew(&cluster).await.ok()).await;
    assert!(may_start(&held, LEASE / 2));
}

#[tokio::test]
async fn a_record_that_nobody_can_read_blocks_for_a_lease_and_no_longer() {
    let server = Server::start().await;
    let cluster = cluster(&server.connect()).await;
    cluster.set("/superset/slots/0", b"rubbish".to_vec(), Expect::Absent).await.unwrap();
    let mut slots = Slots::new(seeker("a", 1));
    let began = Instant::now();
    eventually("a slot", async || {
        let sought = slots.seek(&cluster, &revision()).await.unwrap();
        matches!(sought, Sought::Held(_)).then_some(())
    })
    .await;
    assert!(began.elapsed() >= LEASE);
}
