//! Good releases: one instance at a time, and nobody who uses Superset notices.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use setkeeper::model::pause::Pause;

use super::{Crew, Member};
use crate::support::eventually;
use crate::support::load::assert_unharmed;

/// Publishes one value more, watches how it goes through, and says how long that took.
async fn goes_through(crew: &Crew, limit: u32, at_once: usize) -> Duration {
    let (loads, began) = (crew.loads(), Instant::now());
    crew.tree.fragment("10-base", format!("ROW_LIMIT: {limit}")).await;
    let line = format!("ROW_LIMIT = {limit}");
    let mut most = 0;
    eventually("every instance has it", async || {
        let mut reloading = Vec::new();
        let mut arrived = 0;
        for member in &crew.members {
            let own = member.own().await;
            if own["state"] == "reloading" {
                reloading.push(member);
            }
            let has_it = member.agent.rendered().is_some_and(|text| text.lines().any(|own| own == line));
            arrived += usize::from(has_it && own["state"] == "in_sync" && own["applied"] == own["desired"]);
        }
        // One may have ended while the next was asked: at once are those that are at it still.
        let mut at_once = 0;
        for member in &reloading {
            at_once += usize::from(reloading.len() == 1 || member.own().await["state"] == "reloading");
        }
        most = most.max(at_once);
        (arrived == crew.members.len()).then_some(())
    })
    .await;
    let took = began.elapsed();
    assert!((1..=at_once).contains(&most), "law 5: {most} reloaded at once");
    for member in &crew.members {
        member.runs(&line).await;
    }
    crew.completed().await;
    assert_eq!(crew.slots().await, Vec::<String>::new());
    for load in loads {
        assert_unharmed(&format!("ROW_LIMIT {limit}"), &load.figures().await);
    }
    took
}

/// When a log says this for the last time.
fn last(log: &str, text: &str) -> Timestamp {
    let line = log.lines().rfind(|line| line.contains(text)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn law_5_a_release_goes_through_three_instances_one_by_one_and_no_request_fails() {
    let crew = Crew::of("handoff", 3, Member::supervising).await;
    println!("a rollout of three by handoff took {:?}", goes_through(&crew, 2, 1).await);
}

#[tokio::test]
async fn a_release_goes_through_two_instances_by_handoff_and_no_request_fails() {
    let crew = Crew::of("handoff-of-two", 2, Member::supervising).await;
    println!("a rollout of two by handoff took {:?}", goes_through(&crew, 2, 1).await);
}

#[tokio::test]
async fn a_release_goes_through_two_instances_by_hup_and_no_request_fails() {
    let crew = Crew::of("hup", 2, Member::beside).await;
    println!("a rollout of two by hup took {:?}", goes_through(&crew, 2, 1).await);
}

#[tokio::test]
async fn a_release_goes_through_three_supervised_instances_by_hup_and_no_request_fails() {
    let by_hup = |mut member: Member| {
        member.agent.set("reload", json!({"strategy": "hup"}));
        member.supervising()
    };
    let crew = Crew::of("supervised-hup", 3, by_hup).await;
    println!("a rollout of three by hup took {:?}", goes_through(&crew, 2, 1).await);
}

#[tokio::test]
async fn canaries_go_first_and_a_pause_stops_what_has_not_begun() {
    let canary = |mut member: Member| {
        if member.agent.id == "web-2" {
            member.agent.set("instance.labels", json!({"canary": "true"}));
        }
        member.supervising()
    };
    let crew = Crew::of("canaries", 2, canary).await;
    let pause = serde_json::to_string(&Pause { by: Some("a person".to_owned()), ..Pause::default() }).unwrap();
    crew.tree.put("pause", pause).await;
    crew.members[1].agent.status_where("it waits", |status| status["instance"]["state"] == "in_sync").await;
    crew.tree.fragment("10-base", "ROW_LIMIT: 2").await;
    for member in &crew.members {
        member.agent.status_where("paused", |status| status["instance"]["state"] == "paused").await;
    }
    crew.tree.delete("/superset/pause").await;
    for member in &crew.members {
        member.runs("ROW_LIMIT = 2").await;
    }
    crew.completed().await;
    let [ordinary, canary] = [0, 1].map(|at| crew.members[at].agent.log());
    let (applied, taken) = (last(&canary, "applied a revision"), last(&ordinary, "took a slot"));
    assert!(applied < taken, "the canary goes first: applied at {applied}, taken at {taken}");
}
