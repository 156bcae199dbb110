# shellcheck shell=bash
# The agent in its own unit, beside a Superset in its own.

the_settings_as_they_are_installed_start_and_say_what_they_wait_for() {
  inside systemctl start setkeeper
  same 'the unit' 'active running' "$(unit ActiveState) $(unit SubState)"
  eventually 'a word on what is missing' 20 script 'systemctl show --value -p StatusText setkeeper | grep -q "^held"'
  inside systemctl stop setkeeper
}

the_first_steps_of_the_readme_bring_superset_in_line_by_hup_and_fail_no_request() {
  local before
  before="$(unit MainPID superset)"
  steps() {
    script "cd /root && $(readme 'Install on a VM' 2)"
    eventually 'Superset has the first release' 120 serves 'ROW_LIMIT = 5000'
  }
  under_load steps
  same "superset's process" "$before" "$(unit MainPID superset)"
  same 'enabled' enabled "$(inside systemctl is-enabled setkeeper)"
  # Not only told: the check built Superset's app within the unit's limits.
  has 'the status' "$(unit StatusText)" 'in_sync, leader, release '
  has 'status' "$(inside setkeeper status)" 'in_sync'
  has 'the journal' "$(inside journalctl --no-pager -u setkeeper -o cat)" 'superset loads the candidate'
}

the_agent_runs_as_superset_without_a_capability_and_cannot_write_elsewhere() {
  local pid
  pid="$(unit MainPID)"
  same 'the user' superset "$(inside ps -o user= -p "$pid" | tr -d ' ')"
  same 'capabilities' 0000000000000000 "$(inside sed -n 's/^CapPrm:\t//p' "/proc/$pid/status")"
  has 'seccomp' "$(inside cat "/proc/$pid/status")" $'Seccomp:\t2'
  same 'the rendered file' '640 superset' "$(inside stat --format '%a %U' /etc/superset/superset_config.py)"
  same 'the state folder' '700 superset' "$(inside stat --format '%a %U' /var/lib/setkeeper)"
  expect 'a read-only /opt' inside nsenter -t "$pid" -m -- sh -c '! touch /opt/superset/it 2>/dev/null'
}

sidecar=(
  the_settings_as_they_are_installed_start_and_say_what_they_wait_for
  the_first_steps_of_the_readme_bring_superset_in_line_by_hup_and_fail_no_request
  the_agent_runs_as_superset_without_a_capability_and_cannot_write_elsewhere
)
