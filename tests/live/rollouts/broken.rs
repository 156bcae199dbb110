//! Broken releases: every instance serves on with what it had, not one request fails, and there is a reason to read.

use std::fs;

use serde_json::json;

use super::{Crew, Member};
use crate::support::eventually;
use crate::support::load::{Load, assert_unharmed};

#[tokio::test]
async fn law_4_no_broken_config_of_those_that_kill_a_superset_fails_a_request() {
    nothing_breaks(Crew::of("broken", 2, Member::supervising).await).await;
}

#[tokio::test]
async fn law_4_nor_does_one_where_three_are_told_by_hup() {
    nothing_breaks(Crew::of("broken-hup", 3, Member::beside).await).await;
}

async fn nothing_breaks(crew: Crew) {
    let (before, loads) = (crew.revisions().await, crew.loads());
    for (name, fragment, why) in [
        ("feature flags as a list", "FEATURE_FLAGS: []", "FEATURE_FLAGS"),
        ("headers as a number", "HTTP_HEADERS: 3", "HTTP_HEADERS"),
        ("no secret key", "SECRET_KEY: null", "SECRET_KEY"),
        ("no such cache", "CACHE_CONFIG: {CACHE_TYPE: nowhere}", "nowhere"),
        ("another secret key", "SECRET_KEY: canary-of-another-key", "SECRET_KEY would be another one"),
    ] {
        crew.tree.fragment("20-broken", fragment).await;
        for member in &crew.members {
            let error = member.is_held(why).await;
            assert!(!error.contains("canary"), "{error}");
            println!("{name}: {error}");
        }
        assert_eq!(crew.revisions().await, before, "{name}");
        crew.tree.delete("/superset/config/20-broken").await;
        for member in &crew.members {
            member.runs("ROW_LIMIT = 1").await;
        }
    }
    for (name, text, why) in [
        ("a syntax error in the base", "SECRET_KEY = 'canary\n", "SyntaxError"),
        ("a base that raises", "raise RuntimeError('no such luck')\n", "no such luck"),
    ] {
        let bases: Vec<_> = crew.members.iter().map(|member| fs::read_to_string(member.superset.base()).unwrap()).collect();
        for (member, base) in crew.members.iter().zip(&bases) {
            fs::write(member.superset.base(), format!("{base}\n{text}")).unwrap();
        }
        for member in &crew.members {
            let error = member.is_held(why).await;
            assert!(!error.contains("canary"), "{error}");
            println!("{name}: {error}");
        }
        assert_eq!(crew.revisions().await, before, "{name}");
        for (member, base) in crew.members.iter().zip(&bases) {
            fs::write(member.superset.base(), base).unwrap();
        }
        for member in &crew.members {
            member.runs("ROW_LIMIT = 1").await;
        }
    }
    for load in loads {
        assert_unharmed("broken configs", &load.figures().await);
    }
}

#[tokio::test]
async fn law_6_what_proves_bad_on_one_is_tried_on_no_other_until_it_is_lifted() {
    let crew = Crew::of("quarantine", 2, Member::supervising).await;
    let before = crew.revisions().await;
    crew.tree.fragment("20-broken", "CACHE_CONFIG: {CACHE_TYPE: nowhere}").await;
    for member in &crew.members {
        member.is_held("nowhere").await;
    }
    // Who is held says so before it tells the cluster why.
    let quarantine = eventually("it is in quarantine", async || {
        let quarantine = crew.quarantine().await;
        (!quarantine.is_empty()).then_some(quarantine)
    })
    .await;
    let release = crew.members[0].own().await["desired"]["release"].as_str().unwrap().to_owned();
    assert!(quarantine.iter().all(|bad| bad["release"] == *release), "{quarantine:#?}");
    assert!(quarantine[0]["reason"].as_str().unwrap().contains("nowhere"), "{quarantine:#?}");
    assert_eq!(crew.revisions().await, before);
    let tried = |member: &Member| member.agent.log().matches("next job=Install").count();
    let counts: Vec<_> = crew.members.iter().map(tried).collect();
    // A person lifts it, and it proves as bad as before.
    let lifted = crew.members[0].agent.run(&["rollout", "release", &release]).await;
    assert!(lifted.status.success(), "{lifted:?}");
    eventually("it is in quarantine again", async || (!crew.quarantine().await.is_empty()).then_some(())).await;
    assert_eq!(crew.members.iter().map(tried).collect::<Vec<_>>(), counts, "nothing of it was installed");
    crew.tree.delete("/superset/config/20-broken").await;
    for member in &crew.members {
        member.runs("ROW_LIMIT = 1").await;
    }
    crew.completed().await;
}

#[tokio::test]
async fn law_6_what_passes_the_check_and_does_not_verify_is_taken_back_and_stopped_at_the_first() {
    let crew = Crew::of("verify", 2, |member| member.breakable().supervising()).await;
    let (before, loads) = (crew.revisions().await, crew.loads());
    crew.tree.fragment("20-broken", "BREAKS_FOR_REAL: true").await;
    for member in &crew.members {
        let error = member.is_held("proved bad on web-").await;
        assert!(error.contains("answers with failures"), "{error}");
    }
    assert_eq!(crew.quarantine().await.len(), 1, "law 6");
    assert_eq!(crew.revisions().await, before);
    let tried = crew.members.iter().filter(|member| member.agent.log().contains("failed to reload superset")).count();
    assert_eq!(tried, 1, "law 6: the other never tried it");
    // While both gunicorns serve, some requests meet the broken one: for as long as it takes to be sure.
    let mut failed = Vec::new();
    for load in loads {
        failed.push(load.figures().await.failed.len());
    }
    println!("a release that fails only for real: {failed:?} failed requests");
    assert!(failed.contains(&0) && failed.iter().all(|failed| *failed < 300), "{failed:?}");
    crew.tree.fragment("20-broken", "BREAKS_FOR_REAL: false").await;
    for member in &crew.members {
        member.runs("BREAKS_FOR_REAL = False").await;
    }
}

#[tokio::test]
async fn law_6_an_instance_that_had_moved_goes_back_to_the_completed_release() {
    let of_two_kinds = |mut member: Member| {
        if member.agent.id == "web-1" {
            member.agent.set("instance.labels", json!({"canary": "true"}));
            return member.supervising();
        }
        member.breakable().supervising()
    };
    let crew = Crew::of("moved", 2, of_two_kinds).await;
    let [moves, breaks] = [&crew.members[0], &crew.members[1]];
    let (before, completed, load) = (crew.revisions().await, crew.completed().await, Load::on(&moves.superset.url));
    crew.tree.fragment("20-broken", "BREAKS_FOR_REAL: true").await;
    assert!(crew.tree.names("trees").await.contains(&completed), "what is completed can be gone back to");
    // It loads on the canary, and answers well there.
    let then = moves.agent.has_line("BREAKS_FOR_REAL = True").await;
    let release = moves.own().await["desired"]["release"].as_str().unwrap().to_owned();
    eventually("the canary runs it", async || {
        let log = moves.agent.log();
        log.lines().any(|line| line.contains("applied a revision") && line.contains(&release)).then_some(())
    })
    .await;
    for member in [breaks, moves] {
        member.is_held("proved bad on web-2").await;
    }
    eventually("it runs what it ran", async || (crew.revisions().await == before).then_some(())).await;
    let back = moves.agent.has_line("ROW_LIMIT = 1").await;
    assert!(back != then && !back.contains("BREAKS_FOR_REAL"));
    let applied = moves.agent.status_where("it says so", |status| status["instance"]["applied"]["release"] == *completed).await;
    assert_eq!(applied["instance"]["applied"]["revision"].as_str(), before[0].as_deref());
    assert_eq!(crew.tree.json("rollout").await.unwrap()["completed"], *completed, "what proved bad is not completed");
    assert_unharmed("there and back", &load.figures().await);
    crew.tree.delete("/superset/config/20-broken").await;
    for member in &crew.members {
        member.runs("ROW_LIMIT = 1").await;
    }
}
