# shellcheck shell=bash
# Superset below Setkeeper, in Superset's own unit.

the_drop_in_starts_superset_below_the_supervisor_and_is_ready_when_it_answers() {
  # The way of the tests before this one is not this one's.
  script "sed -i '/^reload:/d' /etc/setkeeper/config.yaml; rm /etc/polkit-1/rules.d/50-setkeeper.rules"
  script "$(readme 'Install on a VM' 3)"
  # systemctl has waited for that.
  expect 'an answer' answers
  has 'the main process' "$(inside ps -o args= -p "$(unit MainPID superset)")" 'setkeeper run'
  same 'the masters' 1 "$(masters | wc -l)"
  eventually 'it is in line' 60 serves 'ROW_LIMIT = 5001'
  same 'systemd-analyze verify' '' "$(inside systemd-analyze verify --man=no superset.service 2>&1)"
}

beside_it_the_agents_own_unit_does_not_start() {
  inside systemctl start setkeeper
  same 'the unit' 'inactive no' "$(unit ActiveState) $(unit ConditionResult)"
}

a_release_is_handed_over_the_main_process_stays_and_no_request_fails() {
  local main master restarts
  main="$(unit MainPID superset)" master="$(masters)" restarts="$(unit NRestarts superset)"
  change() {
    inside setkeeper config set ROW_LIMIT 5002
    eventually 'Superset has the release' 180 serves 'ROW_LIMIT = 5002'
    eventually 'the old gunicorn has ended' 60 script "! kill -0 $master"
  }
  under_load change
  same 'the main process' "$main active $restarts" "$(unit MainPID superset) $(unit ActiveState superset) $(unit NRestarts superset)"
  differs 'the master' "$master" "$(masters)"
  same 'the masters' 1 "$(masters | wc -l)"
}

a_reload_gives_new_workers_and_no_request_fails() {
  local main master workers
  main="$(unit MainPID superset)" master="$(masters)" workers="$(inside pgrep -P "$(masters)")"
  renew() {
    inside systemctl reload superset
    eventually 'other workers' 60 script "! kill -0 $(head -n 1 <<<"$workers")"
  }
  under_load renew
  same 'the processes' "$main $master" "$(unit MainPID superset) $(masters)"
}

# sees_another PID: the record is that of another agent.
sees_another() { [[ "$(record 'it["pid"]')" =~ ^[0-9]+$ && "$(record 'it["pid"]')" != "$1" ]]; }

an_agent_that_is_killed_costs_superset_nothing_and_comes_back() {
  local main master agent
  main="$(unit MainPID superset)" master="$(masters)"
  agent="$(inside pgrep -f 'setkeeper run .*--supervised')"
  lose() {
    inside kill -KILL "$agent"
    # Until its session is over, it is the one that was killed whom the cluster sees.
    eventually 'the cluster sees another agent' 60 sees_another "$agent"
    eventually 'it is in line' 60 serves 'ROW_LIMIT = 5002'
  }
  under_load lose
  same 'the processes' "$main $master" "$(unit MainPID superset) $(masters)"
}

a_stop_ends_superset_and_the_agent_in_order_and_leaves_nobody() {
  inside systemctl stop superset
  same 'how it ended' 'inactive success' "$(unit ActiveState superset) $(unit Result superset)"
  same 'the masters' '' "$(masters)"
  same 'the cluster' '[]' "$(inside setkeeper status -o json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["instances"])')"
}

handoff=(
  the_drop_in_starts_superset_below_the_supervisor_and_is_ready_when_it_answers
  beside_it_the_agents_own_unit_does_not_start
  a_release_is_handed_over_the_main_process_stays_and_no_request_fails
  a_reload_gives_new_workers_and_no_request_fails
  an_agent_that_is_killed_costs_superset_nothing_and_comes_back
  a_stop_ends_superset_and_the_agent_in_order_and_leaves_nobody
)
