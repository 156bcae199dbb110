//! The supervisor with a real Superset: what fails is started again or not, by whose failure it is.

use rustix::process::{Pid, Signal, kill_process};

use super::{Stand, agent_of, gone, gunicorns, is_silent, only, zombies};
use crate::support::eventually;
use crate::support::load::Load;
use crate::support::services::Superset;

#[tokio::test]
async fn superset_starts_once_its_config_is_there_and_term_ends_all() {
    let mut stand = Stand::new("first", Superset::place("", &[])).supervising();
    stand.publish("[no mapping");
    stand.agent.start().await;
    stand.agent.status_where("held", |status| status["instance"]["state"] == "held").await;
    assert!(gunicorns(stand.agent.pid().cast_signed()).is_empty(), "there is no revision yet");
    stand.publish("ROW_LIMIT: 1\n");
    stand.serves("ROW_LIMIT = 1").await;
    let (master, agent) = (stand.master(), agent_of(stand.agent.pid()));
    stand.agent.stop().await;
    assert!(!master.is_alive() && !agent.is_alive() && is_silent(&stand.superset).await);

    // What is in line already is started, too.
    stand.agent.start().await;
    stand.serves("ROW_LIMIT = 1").await;
    stand.agent.stop().await;
}

#[tokio::test]
async fn the_agent_is_killed_and_started_again_and_superset_serves_on() {
    let mut stand = Stand::new("killed", Superset::place("", &[])).supervising().started().await;
    let (load, master) = (Load::on(&stand.superset.url), stand.master());
    for _ in 0..2 {
        let agent = agent_of(stand.agent.pid());
        kill_process(Pid::from_raw(agent.pid).unwrap(), Signal::KILL).unwrap();
        gone(&agent).await;
        stand.agent.answers().await;
        assert_ne!(agent_of(stand.agent.pid()).pid, agent.pid);
    }
    stand.agent.in_sync().await;
    assert_eq!(stand.master(), master);
    assert_eq!(zombies(stand.agent.pid()), Vec::<String>::new());
    let figures = load.figures().await;
    println!("the agent killed twice: {} of {} failed, longest {:?}", figures.failed.len(), figures.total, figures.longest);
    assert!(figures.failed.is_empty(), "{figures:?}");
    stand.publish("ROW_LIMIT: 2\n");
    stand.serves("ROW_LIMIT = 2").await;
    stand.agent.stop().await;
}

#[tokio::test]
async fn an_entry_script_without_exec_hands_over_and_ends_with_its_gunicorn() {
    let stand = Stand::new("script", Superset::place("", &[]));
    let words = stand.superset.words(&stand.config());
    let mut script = vec!["sh", "-c", "\"$@\"; exit $?", "entry"];
    script.extend(words.iter().map(String::as_str));
    let mut stand = Stand { agent: stand.agent.supervising(&script), ..stand }.started().await;
    let (load, old) = (Load::on(&stand.superset.url), stand.master());
    stand.publish("ROW_LIMIT: 2\n");
    stand.serves("ROW_LIMIT = 2").await;
    eventually("the script has ended", async || (stand.master().parent == stand.agent.pid().cast_signed()).then_some(())).await;
    stand.publish("ROW_LIMIT: 3\n");
    stand.serves("ROW_LIMIT = 3").await;
    let new = stand.master();
    assert_ne!(new.pid, old.pid);
    let figures = load.figures().await;
    println!("two handoffs below a script: {} of {} failed", figures.failed.len(), figures.total);
    assert!(figures.failed.is_empty(), "{figures:?}");
    assert_eq!(zombies(stand.agent.pid()), Vec::<String>::new());
    stand.agent.stop().await;
    assert!(!new.is_alive() && is_silent(&stand.superset).await);
}

#[tokio::test]
async fn a_gunicorn_that_dies_ends_everything_with_its_code() {
    let mut stand = Stand::new("dies", Superset::place("", &[])).supervising().started().await;
    let agent = agent_of(stand.agent.pid());
    kill_process(Pid::from_raw(stand.master().pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(stand.agent.ends().await.code(), Some(137));
    assert!(!agent.is_alive() && is_silent(&stand.superset).await);
}

#[tokio::test]
async fn it_works_as_process_1() {
    let stand = Stand::new("one", Superset::place("", &[])).supervising();
    let wrapper = ["unshare", "--pid", "--fork", "--mount-proc", "--map-root-user", "--kill-child"];
    let mut stand = Stand { agent: stand.agent.wrapped(&wrapper), ..stand }.started().await;
    let unshare = stand.agent.pid().cast_signed();
    let (load, old) = (Load::on(&stand.superset.url), only(gunicorns(unshare)));
    stand.publish("ROW_LIMIT: 2\n");
    stand.serves("ROW_LIMIT = 2").await;
    gone(&old).await;
    let figures = load.figures().await;
    println!("a handoff below process 1: {} of {} failed, longest {:?}", figures.failed.len(), figures.total, figures.longest);
    assert!(figures.failed.is_empty(), "{figures:?}");
    let new = only(gunicorns(unshare));
    assert_eq!(zombies(new.parent.cast_unsigned()), Vec::<String>::new());
    kill_process(Pid::from_raw(new.parent).unwrap(), Signal::TERM).unwrap();
    assert_eq!(stand.agent.ends().await.code(), Some(0));
    assert!(!new.is_alive() && is_silent(&stand.superset).await);
}
