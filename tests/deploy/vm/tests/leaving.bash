# shellcheck shell=bash
# Taking the package away, and installing it where nothing is left.

a_removal_ends_the_agent_and_keeps_settings_and_state() {
  script 'rm -r /etc/systemd/system/superset.service.d; systemctl daemon-reload; systemctl start superset setkeeper'
  eventually 'Superset serves' 120 answers
  script "$(readme 'Install on a VM' 5 | grep remove)"
  same 'active' inactive "$(inside systemctl is-active setkeeper || true)"
  expect 'no program' inside test ! -e /usr/bin/setkeeper
  expect 'settings and state' inside test -f /etc/setkeeper/config.yaml -a -f /etc/default/setkeeper -a -f /var/lib/setkeeper/it-was-here
  expect 'a Superset that goes on' answers
}

a_purge_takes_settings_and_state_and_leaves_superset_what_is_its_own() {
  script "$(readme 'Install on a VM' 5 | grep purge)"
  for path in /etc/setkeeper /etc/default/setkeeper /var/lib/setkeeper /usr/share/setkeeper \
    /etc/systemd/system/multi-user.target.wants/setkeeper.service /etc/systemd/system/setkeeper.service; do
    expect "no $path" inside test ! -e "$path" -a ! -L "$path"
  done
  same 'what dpkg knows' '' "$(inside dpkg-query --show --showformat '${Status}' setkeeper 2>/dev/null || true)"
  expect "superset's config" inside test -f /etc/superset/superset_config.py
  inside systemctl restart superset
  eventually 'Superset serves what was rendered last' 120 answers
  same 'what runs' "$(inside sed -n 's/.*X-Setkeeper-Revision.*"\([0-9a-f]\{16\}\)".*/\1/p' /etc/superset/superset_config.py | head -n 1)" "$(revision)"
}

an_installation_without_a_superset_makes_its_user_and_the_folders() {
  # The user of all tests before was there already.
  script 'systemctl disable --quiet --now superset; userdel superset; rm -rf /etc/superset /run/superset'
  script "cd /root && $(readme 'Install on a VM' 1 | grep -v '^make ')"
  same 'the user' 'Apache Superset:/var/lib/superset' "$(inside getent passwd superset | cut -d : -f 5,6)"
  same 'its group' superset "$(inside id --group --name superset)"
  for folder in '/etc/superset 755 superset superset' '/run/superset 755 superset superset' '/etc/setkeeper/secrets 750 root superset'; do
    same 'a folder' "$folder" "$(inside stat --format '%n %a %U %G' "${folder%% *}")"
  done
  inside systemctl start setkeeper
  same 'the state folder' '700 superset superset' "$(inside stat --format '%a %U %G' /var/lib/setkeeper)"
  script "$(readme 'Install on a VM' 5 | grep purge)"
  expect 'no settings and no state' inside test ! -e /etc/setkeeper -a ! -e /var/lib/setkeeper
  expect 'a user that stays' script 'id superset >/dev/null'
}

leaving=(
  a_removal_ends_the_agent_and_keeps_settings_and_state
  a_purge_takes_settings_and_state_and_leaves_superset_what_is_its_own
  an_installation_without_a_superset_makes_its_user_and_the_folders
)
