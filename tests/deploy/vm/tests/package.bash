# shellcheck shell=bash
# What the package holds, and what its installation does and does not do.

the_package_holds_what_it_should_and_its_program_runs_on_an_old_c_library() {
  local held newest
  held="$(dpkg-deb --contents "$WORK"/dist/*.deb | awk '{print $6}')"
  for file in usr/bin/setkeeper usr/lib/systemd/system/setkeeper.service usr/lib/sysusers.d/setkeeper.conf \
    usr/lib/tmpfiles.d/setkeeper.conf etc/setkeeper/config.yaml etc/default/setkeeper usr/share/man/man1/setkeeper.1.gz \
    usr/share/man/man1/setkeeper-config-set.1.gz usr/share/bash-completion/completions/setkeeper \
    usr/share/zsh/vendor-completions/_setkeeper usr/share/fish/vendor_completions.d/setkeeper.fish \
    usr/share/doc/setkeeper/copyright usr/share/doc/setkeeper/changelog.Debian.gz usr/share/doc/setkeeper/CHANGELOG.md \
    usr/share/doc/setkeeper/README.md usr/share/doc/setkeeper/docs/upgrade.md usr/share/doc/setkeeper/deploy/prometheus/alerts.yaml \
    usr/share/setkeeper/superset.service.d/setkeeper.conf usr/share/setkeeper/50-setkeeper.rules; do
    has 'the package' $'\n'"$held"$'\n' $'\n'"./$file"$'\n'
  done
  dpkg-deb --extract "$WORK"/dist/*.deb "$WORK/extracted"
  newest="$(grep -aoE 'GLIBC_[0-9]+\.[0-9]+' "$WORK/extracted/usr/bin/setkeeper" | sort -Vu | tail -n 1)"
  same 'the newest C library asked for' GLIBC_2.31 "$(printf '%s\nGLIBC_2.31\n' "$newest" | sort -V | tail -n 1)"
}

an_installation_enables_and_starts_nothing_and_leaves_superset_and_its_user_alone() {
  local before user
  before="$(unit MainPID superset)" user="$(inside id superset)"
  script "cd /root && $(readme 'Install on a VM' 1 | grep -v '^make ')"
  same 'enabled' disabled "$(inside systemctl is-enabled setkeeper || true)"
  same 'active' inactive "$(inside systemctl is-active setkeeper || true)"
  same "superset's process" "$before" "$(unit MainPID superset)"
  same 'the user' "$user" "$(inside id superset)"
  same 'the secrets' '600 root' "$(inside stat --format '%a %U' /etc/default/setkeeper)"
  same 'the folder of secrets' '750 root superset' "$(inside stat --format '%a %U %G' /etc/setkeeper/secrets)"
}

manual_pages_and_completions_are_there_and_dpkg_finds_nothing_changed() {
  has 'man' "$(inside man --pager cat setkeeper-once)" 'retry-failed'
  has 'completion' "$(script 'source /usr/share/bash-completion/completions/setkeeper; complete -p setkeeper')" 'setkeeper'
  same 'dpkg --verify' '' "$(inside dpkg --verify setkeeper)"
}

the_unit_is_sound_and_its_exposure_is_at_most_2() {
  local exposure
  same 'systemd-analyze verify' '' "$(inside systemd-analyze verify --man=no /usr/lib/systemd/system/setkeeper.service 2>&1)"
  exposure="$(inside systemd-analyze security --offline=true --no-pager /usr/lib/systemd/system/setkeeper.service |
    sed -nE 's/.*exposure level for setkeeper.service: ([0-9.]+) .*/\1/p')"
  printf '  exposure: %s\n' "$exposure"
  expect "an exposure of $exposure" awk -v it="$exposure" 'BEGIN { exit !(it != "" && it <= 2.0) }'
}

package=(
  the_package_holds_what_it_should_and_its_program_runs_on_an_old_c_library
  an_installation_enables_and_starts_nothing_and_leaves_superset_and_its_user_alone
  manual_pages_and_completions_are_there_and_dpkg_finds_nothing_changed
  the_unit_is_sound_and_its_exposure_is_at_most_2
)
