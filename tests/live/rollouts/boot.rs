//! What a new instance starts from: the completed release, or what was completed before; a fallback; or nothing, and it says so.

use std::fs;

use serde_json::json;

use super::{Crew, Member};
use crate::support::eventually;

#[tokio::test]
async fn a_new_instance_starts_from_the_completed_release_while_what_is_published_is_bad() {
    let mut crew = Crew::of("boot", 1, Member::supervising).await;
    let completed = crew.completed().await;
    eventually("the release is kept", async || (!crew.tree.names("releases").await.is_empty()).then_some(())).await;
    crew.tree.fragment("20-broken", "CACHE_CONFIG: {CACHE_TYPE: nowhere}").await;
    crew.members[0].is_held("nowhere").await;
    let connect = crew.zookeeper.connect();
    let mut newcomer = Member::new("boot", "web-2", &connect).supervising();
    newcomer.agent.start().await;
    newcomer.agent.has_line("ROW_LIMIT = 1").await;
    newcomer.is_held("proved bad on web-1").await;
    let own = eventually("it has applied what was completed", async || {
        Some(newcomer.own().await).filter(|own| own["applied"]["release"] == *completed)
    })
    .await;
    assert_eq!(newcomer.superset.revision().await.as_deref(), own["applied"]["revision"].as_str());
    assert!(!newcomer.agent.log().contains("next job=TakeSlot"), "nobody is disturbed by a start");
    assert!(newcomer.agent.is_ready().await);
    crew.members.push(newcomer);
    crew.tree.delete("/superset/config/20-broken").await;
    for member in &crew.members {
        member.runs("ROW_LIMIT = 1").await;
    }
}

#[tokio::test]
async fn without_a_release_it_waits_and_says_what_to_create_and_with_a_fallback_it_serves() {
    let crew = Crew::at_rest("nothing", 2, |mut member| {
        member.agent.set("boot.wait", json!("2s"));
        member.supervising()
    });
    let mut crew = crew.await;
    crew.tree.delete("/superset/config/10-base").await;
    let fallback = crew.members[1].agent.path("fallback.py");
    let base = fs::read_to_string(crew.members[1].superset.base()).unwrap();
    fs::write(&fallback, format!("{base}\nROW_LIMIT = 9\n")).unwrap();
    crew.members[1].agent.set("boot.fallback", json!(fallback));
    for member in &mut crew.members {
        member.agent.start().await;
    }
    let error = crew.members[0].is_held("/superset/config").await;
    println!("nothing published: {error}");
    crew.members[1].agent.has_line("ROW_LIMIT = 9").await;
    eventually("superset serves from the fallback", async || {
        let answer = crate::support::http().get(format!("{}/health", crew.members[1].superset.url)).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    assert!(!crew.members[0].agent.is_ready().await && !crew.members[1].agent.is_ready().await);
    assert_eq!(crew.members[0].agent.rendered(), None);
    crew.tree.fragment("10-base", "ROW_LIMIT: 2").await;
    for member in &crew.members {
        member.runs("ROW_LIMIT = 2").await;
        assert!(member.agent.is_ready().await);
    }
    crew.completed().await;
}
