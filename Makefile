# The one entry for people and CI alike. `make` alone lists the commands.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CACHE ?= $(or $(SETKEEPER_CACHE),$(CURDIR)/.cache)
export SETKEEPER_CACHE := $(CACHE)
CARGO ?= cargo
DENY_VERSION := 0.20

STATIC ?= target/static/setkeeper

.PHONY: help demo rollout-demo test lint hermetic live test-matrix soak bench static deny clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## set everything up and show the main job at work, until Ctrl-C (DEMO_EXIT=1: prove it and end)
	@tests/demo/run

rollout-demo: ## set everything up and show a rollout to three Supersets, until Ctrl-C (DEMO_EXIT=1: prove it and end)
	@tests/demo/rollout

test: lint hermetic live ## set everything up and run all tests

lint: ## formatting, clippy and docs
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items

hermetic: ## the tests that need nothing but Rust and python3
	$(CARGO) test --locked --lib --bins --test it --test it_files --test layers

live: ## the tests on a real ZooKeeper and a real Superset
	tests/services/setup zookeeper superset mariadb postgres redis
	$(CARGO) build --locked
	$(CARGO) test --locked --test live -- --test-threads=2 --skip process:: --skip rollouts::
	@# These start up to three Supersets each and ask them for pages all the while: two side by side would measure the machine.
	$(CARGO) test --locked --test live -- --test-threads=1 process:: rollouts::

test-matrix: ## the live Superset tests on every supported version
	tests/services/setup zookeeper mariadb postgres redis superset=6.1.0 superset=5.0.0 superset=4.1.4
	for version in 6.1.0 5.0.0 4.1.4; do \
	  SETKEEPER_TEST_SUPERSET=$$version $(CARGO) test --locked --test live -- superset:: check:: rollouts::good --test-threads=2; \
	done

soak: ## simulate as many more rollouts and pushes as time allows (SEEDS=100000)
	SETKEEPER_SEEDS=$(or $(SEEDS),100000) $(CARGO) test --locked --release --test it every_schedule

bench: ## measure speed and memory as ratios to a floor, and write target/bench/report.md
	tests/services/setup zookeeper superset postgres
	$(CARGO) bench --locked --bench floor

static: ## build the program so that it needs no C library, for images (STATIC=FILE)
	triple="$$(rustc -vV | sed -n 's/^host: //p')"; \
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --locked --release --target "$$triple"; \
	mkdir -p "$$(dirname '$(STATIC)')"; \
	strip -o '$(STATIC)' "$${CARGO_TARGET_DIR:-target}/$$triple/release/setkeeper"

test-deploy-kube: render-kube ## images, the chart's pods, and the README's installation by Helm, run by podman with a real Superset (needs root)
	tests/services/setup zookeeper redis postgres superset
	SETKEEPER_STATIC='$(abspath $(STATIC))' tests/deploy/kube/setup pods
	SETKEEPER_PROGRAM='$(abspath $(STATIC))' tests/deploy/kube/run image pods readme

test-image: ## the images as the Dockerfile's own Rust stage builds them (needs root; as long as a release build)
	tests/deploy/kube/setup render image
	IMAGES=localhost/built: tests/deploy/kube/run image

render-kube: static ## the Helm chart, rendered by both majors of Helm and judged
	tests/deploy/kube/setup render
	SETKEEPER_PROGRAM='$(abspath $(STATIC))' tests/deploy/kube/run render

.PHONY: dist dist-deb test-deploy test-deploy-kube render-kube test-image test-deploy-vm
dist: ## build what is released into target/dist, with checksums: program, Debian package, chart, images (IMAGE=1: demand them, 0: none)
	deploy/dist

test-deploy: test-deploy-kube test-image test-deploy-vm ## install it the way people do, in containers and in a booted Debian (needs root)

dist-deb: ## build the Debian package into target/dist
	deploy/deb/build

test-deploy-vm: ## install the package in a Debian 12 booted by systemd-nspawn and prove it there (needs root)
	SETKEEPER_SYSTEM=0 tests/services/setup zookeeper
	tests/services/setup superset
	tests/deploy/vm/setup
	tests/deploy/vm/run

deny: ## licences, bans and sources of dependencies (ADVISORIES=1: known vulnerabilities too)
	command -v cargo-deny >/dev/null || test -x $(CACHE)/cargo-deny/bin/cargo-deny || \
	  $(CARGO) install --locked --root $(CACHE)/cargo-deny cargo-deny@^$(DENY_VERSION)
	PATH="$(CACHE)/cargo-deny/bin:$$PATH" cargo deny --config .deny.toml check bans licenses sources $(if $(ADVISORIES),advisories)

clean: ## remove what was built and what was set up
	rm -rf target $(CACHE)
