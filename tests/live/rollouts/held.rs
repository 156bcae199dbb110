//! A host that cannot check holds itself and nobody else.

use serde_json::json;

use super::{Crew, Member, VARIABLE};

/// What both can load.
const GOOD: &str = "ROW_LIMIT: 2";

/// Restarts the first with other settings, publishes, and sees that it alone is held, and for what.
async fn holds_itself(cluster: &str, published: &str, change: impl Fn(&mut Member), why: &str, mend: impl Fn(&mut Member)) {
    let mut crew = Crew::of(cluster, 2, Member::beside).await;
    crew.members[0].agent.stop().await;
    change(&mut crew.members[0]);
    crew.members[0].agent.start().await;
    crew.members[0].runs("ROW_LIMIT = 1").await;
    crew.tree.fragment("10-base", published).await;
    let error = crew.members[0].is_held(why).await;
    println!("{cluster}: {error}");
    crew.members[1].runs("ROW_LIMIT = 2").await;
    assert_eq!(crew.quarantine().await, Vec::<serde_json::Value>::new(), "one sick host vetoes nothing");
    crew.completed().await;
    assert!(crew.members[0].agent.rendered().unwrap().contains("ROW_LIMIT = 1\n"));
    crew.members[0].agent.stop().await;
    mend(&mut crew.members[0]);
    crew.members[0].agent.start().await;
    crew.members[0].runs("ROW_LIMIT = 2").await;
}

#[tokio::test]
async fn a_check_without_memory_holds_one_instance_and_no_other() {
    let set = |memory: &'static str| move |member: &mut Member| member.agent.set("check.memory", json!(memory));
    // What Python says where it has no memory is another thing each time.
    holds_itself("memory", GOOD, set("100M"), "", set("600M")).await;
}

#[tokio::test]
async fn a_check_that_has_no_time_holds_one_instance_and_no_other() {
    let set = |limit: &'static str| move |member: &mut Member| member.agent.set("check.timeout", json!(limit));
    holds_itself("time", GOOD, set("500ms"), "500ms", set("300s")).await;
}

#[tokio::test]
async fn a_check_that_lacks_a_variable_holds_one_instance_and_no_other() {
    let (name, value) = VARIABLE;
    let published = format!("{{ROW_LIMIT: 2, APP_NAME: {{$env: {name}}}}}");
    let (take, give) = (
        |member: &mut Member| member.agent.set_variable(name, None),
        |member: &mut Member| member.agent.set_variable(name, Some(value)),
    );
    holds_itself("variable", &published, take, name, give).await;
}
