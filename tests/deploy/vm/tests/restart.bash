# shellcheck shell=bash
# reload.strategy: restart, by an agent that is nobody in particular to systemd.

without_the_rule_superset_cannot_restart_its_unit() {
  expect 'a refusal' script '! runuser -u superset -- systemctl --no-ask-password restart superset 2>/root/said'
  has 'the refusal' "$(inside cat /root/said)" 'authentication required'
}

with_the_rule_a_release_is_loaded_by_a_restart_of_the_unit_and_nothing_else_is_allowed() {
  local before
  before="$(unit MainPID superset)"
  script "$(readme 'Install on a VM' 4)"
  for verb in stop start; do
    expect "a refusal to $verb" script "! runuser -u superset -- systemctl --no-ask-password $verb superset 2>/dev/null"
  done
  expect 'a refusal for another unit' script '! runuser -u superset -- systemctl --no-ask-password restart dbus 2>/dev/null'
  same "superset's process" "$before" "$(unit MainPID superset)"
  inside setkeeper config set ROW_LIMIT 5001
  eventually 'Superset has the release' 180 serves 'ROW_LIMIT = 5001'
  differs "superset's process" "$before" "$(unit MainPID superset)"
  has 'history' "$(inside setkeeper rollout status)" 'in_sync'
}

restart=(
  without_the_rule_superset_cannot_restart_its_unit
  with_the_rule_a_release_is_loaded_by_a_restart_of_the_unit_and_nothing_else_is_allowed
)
