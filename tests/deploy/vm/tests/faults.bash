# shellcheck shell=bash
# What systemd does when the agent is asked to, must, or cannot go on. Superset is the same process before and after all of it.

# anew BEFORE: the unit runs, as another process.
anew() { [[ "$(unit SubState)" == running && "$(unit MainPID)" != "$1" && "$(unit MainPID)" != 0 ]]; }

a_kill_is_followed_by_a_start_that_changes_nothing() {
  local agent superset workers
  agent="$(unit MainPID)" superset="$(unit MainPID superset)" workers="$(inside pgrep -P "$(unit MainPID superset)")"
  inside kill -KILL "$agent"
  eventually 'another agent runs' 30 anew "$agent"
  eventually 'it is in line' 60 serves 'ROW_LIMIT = 5000'
  same "superset's processes" "$superset $workers" "$(unit MainPID superset) $(inside pgrep -P "$superset")"
}

an_agent_that_hangs_is_ended_by_the_watchdog_and_started_again() {
  local agent since
  script 'mkdir -p /run/systemd/system/setkeeper.service.d
    printf "[Service]\nWatchdogSec=15s\n" >/run/systemd/system/setkeeper.service.d/test.conf
    systemctl daemon-reload; systemctl restart setkeeper'
  agent="$(unit MainPID)" since="$(cursor)"
  # It is fed for longer than systemd would wait.
  sleep 20
  same 'the agent that is fed' "$agent" "$(unit MainPID)"
  inside kill -STOP "$agent"
  eventually 'another agent runs' 60 anew "$agent"
  has 'the journal' "$(journal setkeeper "$since")" 'Watchdog timeout'
  script 'rm -r /run/systemd/system/setkeeper.service.d; systemctl daemon-reload; systemctl restart setkeeper'
  same 'the limit' 5min "$(unit WatchdogUSec)"
}

a_reload_means_nothing_and_is_refused() {
  local agent
  agent="$(unit MainPID)"
  expect 'a refusal' script '! systemctl reload setkeeper 2>/root/said'
  has 'the refusal' "$(inside cat /root/said)" 'Job type reload is not applicable'
  same 'the agent' "$agent" "$(unit MainPID)"
}

a_stop_is_a_clean_leave() {
  local since
  has 'the cluster' "$(inside setkeeper status -o json)" '"setkeeper-test"'
  since="$(cursor)"
  inside systemctl stop setkeeper
  same 'how it ended' 'success 0' "$(unit Result) $(unit ExecMainStatus)"
  has 'the journal' "$(journal setkeeper "$since")" 'stopping'
  # At once, and not when its session ends.
  same 'the cluster' '[] None' "$(inside setkeeper status -o json |
    python3 -c 'import json, sys; it = json.load(sys.stdin); print(it["instances"], it["leader"])')"
  expect 'a Superset that goes on' answers
}

settings_that_are_wrong_fail_the_start_and_the_journal_says_why() {
  local since
  since="$(cursor)"
  script 'cp -p /etc/setkeeper/config.yaml /root/; printf "relaod: {}\n" >>/etc/setkeeper/config.yaml'
  expect 'a start that fails' script '! systemctl start setkeeper 2>/dev/null'
  has 'the journal' "$(journal setkeeper "$since")" 'relaod'
  has 'the journal' "$(journal setkeeper "$since")" 'reload'
  # Once they are right it comes up without a word.
  inside cp -p /root/config.yaml /etc/setkeeper/config.yaml
  eventually 'it comes up' 30 script '[[ "$(systemctl is-active setkeeper)" == active ]]'
  eventually 'it is in line' 60 serves 'ROW_LIMIT = 5000'
}

an_upgrade_keeps_settings_and_state_and_starts_the_agent_anew_but_not_superset() {
  local agent superset state settings
  agent="$(unit MainPID)" superset="$(unit MainPID superset)"
  settings="$(inside sha256sum /etc/setkeeper/config.yaml /etc/default/setkeeper)"
  script 'touch /var/lib/setkeeper/it-was-here'
  script 'dpkg --install /root/later/*.deb >/root/upgrade 2>&1 </dev/null'
  same 'the version' '99.0-1' "$(inside dpkg-query --show --showformat '${Version}' setkeeper)"
  same 'the settings' "$settings" "$(inside sha256sum /etc/setkeeper/config.yaml /etc/default/setkeeper)"
  expect 'the state' inside test -f /var/lib/setkeeper/it-was-here
  eventually 'another agent runs' 30 anew "$agent"
  eventually 'it is in line' 60 serves 'ROW_LIMIT = 5000'
  same "superset's process" "$superset" "$(unit MainPID superset)"
  same 'enabled' enabled "$(inside systemctl is-enabled setkeeper)"
}

faults=(
  a_kill_is_followed_by_a_start_that_changes_nothing
  an_agent_that_hangs_is_ended_by_the_watchdog_and_started_again
  a_reload_means_nothing_and_is_refused
  a_stop_is_a_clean_leave
  settings_that_are_wrong_fail_the_start_and_the_journal_says_why
  an_upgrade_keeps_settings_and_state_and_starts_the_agent_anew_but_not_superset
)
