//! Faults amid a rollout: the agent killed in each step, ZooKeeper lost, a slot's holder that stops for ever.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{Crew, Member};
use crate::process::agent_of;
use crate::support::eventually;
use crate::support::load::assert_unharmed;

async fn logs(member: &Member, text: &str, more_than: usize) {
    eventually(&format!("{} logs {text}", member.agent.id), async || {
        (member.agent.log().matches(text).count() > more_than).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_killed_in_any_step_ends_in_one_of_the_two_good_states() {
    let mut crew = Crew::of("killed", 2, Member::beside).await;
    let loads = crew.loads();
    for (n, step) in ["Check", "TakeSlot", "Install", "Reload", "Verify", "FreeSlot"].into_iter().enumerate() {
        let limit = n + 2;
        let step = format!("next job={step}");
        let before = crew.members[0].agent.log().matches(&step).count();
        crew.tree.fragment("10-base", format!("ROW_LIMIT: {limit}")).await;
        logs(&crew.members[0], &step, before).await;
        crew.members[0].agent.kill();
        crew.members[0].agent.start().await;
        for member in &crew.members {
            member.runs(&format!("ROW_LIMIT = {limit}")).await;
        }
        eventually("every slot is free", async || crew.slots().await.is_empty().then_some(())).await;
        println!("killed in {step}");
    }
    for load in loads {
        assert_unharmed("kills", &load.figures().await);
    }
}

#[tokio::test]
async fn an_agent_killed_while_the_tree_settles_or_a_release_soaks_goes_on() {
    // So long that a busy machine kills in time; the next run of the agent need not wait as long.
    let waits = |settle: &str, soak: &str| json!({"settle": settle, "soak": soak});
    let slow = |mut member: Member| {
        member.agent.set("rollout", waits("30s", "100ms"));
        member.beside()
    };
    let mut crew = Crew::of("killed-waiting", 1, slow).await;
    let loads = crew.loads();
    let count = |crew: &Crew, text: &str| crew.members[0].agent.log().matches(text).count();
    for (limit, begins, ends, then) in [
        (2, "superset loads the candidate", "next job=TakeSlot", waits("100ms", "30s")),
        (3, "next job=Verify", "next job=FreeSlot", waits("100ms", "100ms")),
    ] {
        let (begun, ended) = (count(&crew, begins), count(&crew, ends));
        crew.tree.fragment("10-base", format!("ROW_LIMIT: {limit}")).await;
        logs(&crew.members[0], begins, begun).await;
        if limit == 3 {
            let line = format!("ROW_LIMIT = {limit}");
            let revision = async || {
                let text = crew.members[0].agent.has_line(&line).await;
                crew.members[0].superset.revision().await.filter(|revision| text.contains(revision.as_str()))
            };
            eventually("superset runs it", revision).await;
        }
        crew.members[0].agent.kill();
        assert_eq!(count(&crew, ends), ended, "it was killed too late");
        crew.members[0].agent.set("rollout", then);
        crew.members[0].agent.start().await;
        crew.members[0].runs(&format!("ROW_LIMIT = {limit}")).await;
        crew.completed().await;
        eventually("every slot is free", async || crew.slots().await.is_empty().then_some(())).await;
        println!("killed after {begins}");
    }
    for load in loads {
        assert_unharmed("kills", &load.figures().await);
    }
}

#[tokio::test]
async fn an_agent_killed_in_any_step_of_the_first_start_starts_superset_all_the_same() {
    let mut crew = Crew::at_rest("first-start", 3, Member::supervising).await;
    for (member, step) in crew.members.iter_mut().zip(["Check", "Install", "Reload"]) {
        member.agent.start().await;
        logs(member, &format!("next job={step}"), 0).await;
        let agent = agent_of(member.agent.pid());
        kill_process(Pid::from_raw(agent.pid).unwrap(), Signal::KILL).unwrap();
        member.runs("ROW_LIMIT = 1").await;
        assert_eq!(member.agent.log().matches("INFO started instance").count(), 2, "{step}");
    }
    crew.completed().await;
}

#[tokio::test]
async fn an_agent_killed_on_the_way_back_ends_on_what_ran_well_and_tells_the_cluster_why() {
    let crew = Crew::of("way-back", 1, |member| member.breakable().supervising()).await;
    let [member] = &crew.members[..] else { unreachable!() };
    let good = member.superset.revision().await;
    for (limit, step) in [(2, "failed to reload superset"), (3, "next job=Verify"), (4, "next job=Quarantine")] {
        // What Verify and Quarantine come to here is on the way back: the new gunicorn never answers well.
        let before = member.agent.log().matches(step).count();
        crew.tree.fragment("20-broken", format!("{{BREAKS_FOR_REAL: true, ROW_LIMIT: {limit}}}")).await;
        logs(member, step, before).await;
        let agent = agent_of(member.agent.pid());
        kill_process(Pid::from_raw(agent.pid).unwrap(), Signal::KILL).unwrap();
        let error = member.is_held("proved bad on web-1").await;
        assert!(error.contains("answers with failures"), "{step}: {error}");
        eventually("every slot is free", async || crew.slots().await.is_empty().then_some(())).await;
        assert_eq!(member.superset.revision().await, good, "{step}");
        let told = crew.quarantine().await;
        assert_eq!(told.len(), limit - 1, "{step}: {told:#?}");
        println!("killed at {step}");
    }
    crew.tree.delete("/superset/config/20-broken").await;
    member.runs("ROW_LIMIT = 1").await;
}

#[tokio::test]
async fn law_1_without_zookeeper_no_rollout_begins_and_one_under_way_ends() {
    let slow = |mut member: Member| {
        member.agent.set("rollout.soak", json!("3s"));
        member.beside()
    };
    let mut crew = Crew::of("away", 2, slow).await;
    crew.tree.fragment("10-base", "ROW_LIMIT: 2").await;
    let first = eventually("one of them begins", async || {
        crew.members.iter().position(|member| member.agent.log().matches("next job=Reload").count() > 0)
    })
    .await;
    crew.zookeeper.kill();
    let second = 1 - first;
    let own = crew.members[second].superset.revision().await;
    crew.members[first].agent.has_line("ROW_LIMIT = 2").await;
    let applied = crew.members[first].agent.in_sync().await["instance"]["applied"]["revision"].clone();
    assert_eq!(crew.members[first].superset.revision().await.as_deref(), applied.as_str());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(crew.members[second].superset.revision().await, own, "law 1: begun without ZooKeeper");
    assert!(crew.members[second].agent.rendered().unwrap().contains("ROW_LIMIT = 1\n"));
    crew.zookeeper.launch();
    crew.zookeeper.serves().await;
    crew.members[second].runs("ROW_LIMIT = 2").await;
    crew.completed().await;
}

#[tokio::test]
async fn a_slot_whose_holder_stops_for_ever_is_taken_over_after_its_lease() {
    frozen("soaking", "next job=Verify", 2).await;
}

#[tokio::test]
async fn law_6_an_agent_that_was_frozen_amid_a_proof_blames_nobody_when_it_wakes() {
    frozen("proving", "next job=Verify", 1).await;
}

/// Freezes whoever holds the slot once its log has `job` so many times, until the other has taken its slot and gone on.
async fn frozen(cluster: &str, job: &str, times: usize) {
    let short = |mut member: Member| {
        member.agent.set("rollout.soak", json!("3s"));
        // A slot's lease is four times that, for which the other has to wait.
        member.agent.set("verify", json!({"timeout": "20s"}));
        member.beside()
    };
    let crew = Crew::of(cluster, 2, short).await;
    let begun: Vec<_> = crew.members.iter().map(|member| member.agent.log().matches(job).count()).collect();
    crew.tree.fragment("10-base", "ROW_LIMIT: 2").await;
    let holder = eventually("one of them is at it", async || {
        let is_at_it = |at: &usize| crew.members[*at].agent.log().matches(job).count() == begun[*at] + times;
        (0..2).find(is_at_it)
    })
    .await;
    crew.members[holder].agent.freeze();
    let other = 1 - holder;
    crew.members[other].runs("ROW_LIMIT = 2").await;
    crew.members[holder].agent.thaw();
    crew.members[holder].runs("ROW_LIMIT = 2").await;
    eventually("every slot is free", async || crew.slots().await.is_empty().then_some(())).await;
    crew.completed().await;
    assert!(crew.quarantine().await.is_empty());
}
