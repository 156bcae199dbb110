//! Candidates that would not end, take too much, or leave something running.

use std::fs;
use std::time::{Duration, Instant};

use setkeeper::check::report::Outcome::{Inconclusive, Proven};

use super::support::{candidate, check, checker, expect, runs};

/// A check has the lowest priority: on a busy machine the candidate is reached late.
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_candidate_that_never_ends_is_inconclusive_at_the_limit() {
    let began = Instant::now();
    expect(&checker(LIMIT), "while True: pass", Inconclusive, "loading: not done within 30s").await;
    assert!(began.elapsed() < LIMIT * 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_candidate_that_takes_too_much_memory_is_inconclusive_and_soon_done() {
    let checker = checker(LIMIT * 4);
    expect(&checker, "X = bytearray(5 * 10**9)", Inconclusive, "loading: out of memory").await;
    let little_by_little = "X = []\nwhile True: X.append(bytearray(10**6))";
    expect(&checker, little_by_little, Inconclusive, "loading: out of memory").await;
}

#[tokio::test]
async fn a_candidate_that_ignores_term_and_forks_away_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let lines = format!(
        "import os, signal, time\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         def rest(pid=None):\n    with open({pids:?}, 'a') as file: file.write(f'{{os.getpid()}}\\n')\n    time.sleep(600)\n\
         if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: rest()\n    os._exit(0)\n\
         if os.fork() == 0: rest()\n\
         rest()"
    );
    expect(&checker(LIMIT), &lines, Inconclusive, "loading: not done within 30s").await;
    let pids = fs::read_to_string(pids).unwrap();
    assert_eq!(pids.lines().count(), 3);
    for pid in pids.lines() {
        assert!(!runs(pid), "{pid} runs on");
    }
}

#[tokio::test]
async fn a_fork_that_loads_on_gives_no_verdict_and_a_thread_holds_nothing_up() {
    let checker = checker(LIMIT * 4);
    let forks = "import os\nif os.fork() == 0: FEATURE_FLAGS = ['the child is broken']";
    expect(&checker, forks, Proven, "passed").await;
    let thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()";
    expect(&checker, thread, Proven, "passed").await;
}

#[tokio::test]
async fn it_stays_in_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let lines = format!(
        "import os, resource\n\
         with open({seen:?}, 'w') as file:\n    \
         print(os.nice(0), resource.getrlimit(resource.RLIMIT_CORE)[0], open('/proc/self/oom_score_adj').read().strip(), file=file)"
    );
    assert_eq!(check(&checker(LIMIT * 4), &candidate(&lines)).await.outcome, Proven);
    assert_eq!(fs::read_to_string(seen).unwrap(), "19 0 1000\n");
}
