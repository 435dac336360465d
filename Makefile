# What one does with aiochat; `make` lists it. GNU Make 3.81, which macOS ships, is enough.
# Everything is installed inside the checkout (.venv, node_modules); a stamp file in there says that a part is complete.

PY := .venv/bin/python
export PATH := $(CURDIR)/tests/node_modules/.bin:$(PATH)

# The first of these that works: a pyenv shim may be there and fail, Debian's python3 may be without venv.
PYTHON = $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
    $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && \
    echo $$python && break; done)
NO_PYTHON := aiochat needs Python 3.11 or newer with venv: \
    sudo apt install python3-venv (Debian, Ubuntu) or brew install python (macOS)

# The checkout itself is not installed: a path file leads the interpreter to it.
PATH_FILE := import pathlib, sysconfig; \
    pathlib.Path(sysconfig.get_path("purelib"), "aiochat.pth").write_text("../../../..\n")

# Prints the dependencies of the server and of the extras named.
DEPENDENCIES := import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    extras = [project["optional-dependencies"][name] for name in sys.argv[1:]]; \
    print(*project["dependencies"], *sum(extras, []), sep="\n")

PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# $(call flag,--host,HOST) is `--host VALUE` if make was given HOST=VALUE; shells export HOST and NAME for themselves.
flag = $(if $(filter command,$(firstword $(origin $(2)))),$(1) '$($(2))')
ARGS :=

# $(call apt_install,COMMAND:PACKAGE ...) installs the packages whose commands are missing. Debian starts the services
# that it installs: those that were not there before are stopped again.
define apt_install
missing=; for part in $(1); do \
    command -v "$${part%%:*}" >/dev/null || missing="$$missing $${part##*:}"; done; \
test -z "$$missing" || { echo "Installing$$missing"; apt-get -qq update && \
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $$missing >/dev/null && \
    for service in $$missing; do test ! -d /run/systemd/system || systemctl disable --now --quiet "$$service" 2>/dev/null || true; done; }
endef

define install
@echo "Installing into .venv what $(1) needs"
@$(PY) -c '$(DEPENDENCIES)' $(2) > $@.txt
@$(PIP_INSTALL) --requirement $@.txt
@touch $@
endef

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: .venv/.server ## start the server [PORT=9000] [HOST=0.0.0.0] [CONFIG=FILE]
	@exec $(PY) -m aiochat serve $(call flag,--config,CONFIG) $(call flag,--host,HOST) $(call flag,--port,PORT)

run-cluster: .venv/.cluster redis-for-root ## the same with two workers and Redis, its data in var/redis [WORKERS=4]
	@exec $(PY) config/cluster.py --workers $(or $(call flag,,WORKERS),2) $(call flag,--config,CONFIG) \
	    $(call flag,--host,HOST) $(call flag,--port,PORT)

chat: .venv/.server ## talk from this terminal: NAME=bob [ROOM=lobby] [PORT=9000]
	@exec $(PY) -m aiochat chat $(call flag,--name,NAME) $(call flag,--room,ROOM) \
	    $(if $(call flag,,PORT),ws://127.0.0.1:$(PORT)/ws)

test: .venv/.test parts-for-root tests/node_modules/.complete ## all but the slow tests [ARGS="-k hub"]
	@$(PY) -m pytest --numprocesses auto -m 'not faults' $(ARGS)

test-faults: .venv/.test parts-for-root tests/node_modules/.complete ## the slow tests of what goes wrong [ARGS=...]
	@$(PY) -m pytest -m faults $(ARGS)

lint: .venv/.lint ## style, types, and whether the description of the protocol is current
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m aiochat.schema --check

audit: .venv/.lint ## whether what is installed has known weaknesses
	@$(PY) -m pip_audit --requirement constraints.txt --no-deps --disable-pip --progress-spinner off $(ARGS)

format: .venv/.lint ## rewrite the code in the style that lint asks for
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

protocol: .venv/.server ## write what aiochat/messages/ says into docs/protocol.md and the JSON Schema
	@$(PY) -m aiochat.schema

loadtest: .venv/.loadtest ## measure a server: SCENARIO=storm [CLIENTS=5000] [SECONDS=30] [URL=ws://...] [ARGS=...]
	@exec $(PY) -m aiochat loadtest $(call flag,,SCENARIO) $(call flag,--clients,CLIENTS) $(call flag,--seconds,SECONDS) \
	    $(call flag,--url,URL) $(ARGS)

bench: .venv/.bench benchmarks/node_modules/.complete .venv/gorilla ## ours and its peers side by side [ARGS=...]
	@exec $(PY) -m benchmarks $(ARGS)

profile: .venv/.profile ## where the server's time goes, as a flame graph [SCENARIO=saturate] [ARGS="--seconds 20"]
	@exec $(PY) -m benchmarks.profile $(call flag,,SCENARIO) $(ARGS)

lock: $(PY) ## pin the newest versions of all dependencies in constraints.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check uv
	@$(PY) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --no-annotate \
	    --no-emit-index-url --custom-compile-command 'make lock' --output-file constraints.txt pyproject.toml

wheel: $(PY) ## build dist/aiochat_server-VERSION-py3-none-any.whl
	@rm -rf dist
	@$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

parts: ## install what the tests need of the system: Chromium, Node.js, Redis (Debian, Ubuntu; needs root)
	@$(call apt_install,chromium:chromium npm:nodejs npm:npm redis-server:redis-server curl:curl ip:iproute2)

# With what the deployment files are checked (Debian, Ubuntu; needs root): too much for a developer's machine unasked.
deployment-parts:
	@$(call apt_install,nginx:nginx caddy:caddy promtool:prometheus systemd-analyze:systemd)

# What the benchmark's peers need of the system (Debian, Ubuntu; needs root); make bench leaves out whoever lacks it.
bench-parts:
	@$(call apt_install,go:golang-go gorilla:golang-github-gorilla-websocket-dev nginx:nginx npm:nodejs npm:npm)
	@$(call apt_install,nchan:libnginx-mod-nchan)

clean: ## remove all that was installed and built in the checkout
	rm -rf .venv tests/node_modules benchmarks/node_modules dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# Only root may change the system, and only where apt-get can; a part that is missing all the same costs its tests.
parts-for-root:
	@test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || $(MAKE) --no-print-directory parts || \
	    echo "The system's parts could not be installed; tests that need them are skipped."

# The same for Redis alone; the cluster says by itself what is missing.
redis-for-root:
	@test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || command -v redis-server valkey-server >/dev/null || \
	    { $(call apt_install,redis-server:redis-server); } || true

$(PY):
	$(if $(PYTHON),,$(error $(NO_PYTHON)))
	@$(PYTHON) -m venv --clear .venv || { rm -rf .venv; exit 1; }
	@$(PY) -c '$(PATH_FILE)'

.venv/.server: pyproject.toml constraints.txt | $(PY)
	$(call install,the server)

.venv/.cluster: pyproject.toml constraints.txt | $(PY)
	$(call install,the cluster,redis)

.venv/.loadtest: pyproject.toml constraints.txt | $(PY)
	$(call install,the load test,loadtest)

.venv/.profile: .venv/.loadtest
	$(call install,the profile,profile)

.venv/.test: pyproject.toml constraints.txt | $(PY)
	$(call install,the tests,test)

.venv/.lint: .venv/.test
	$(call install,lint,lint)

# A peer that cannot be installed here is left out of the comparison.
.venv/.bench: .venv/.loadtest
	@echo "Installing into .venv what the benchmark needs"
	@$(PY) -c '$(DEPENDENCIES)' bench > $@.txt
	@while read -r peer; do $(PIP_INSTALL) "$$peer" || echo "$$peer: cannot be installed here"; done < $@.txt
	@touch $@

# Debian has gorilla's library as source for a GOPATH.
.venv/gorilla: benchmarks/gorilla/server.go | $(PY)
	@! command -v go >/dev/null || { echo "Building the benchmark's Go server" && \
	    GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$(CURDIR)/.venv/go-cache go build -o $@ $<; } || \
	    echo "Go could not build it; the benchmark goes on without."

# For the tests wscat, ws, TypeScript and axe-core; for the benchmark ws and Socket.IO.
%/node_modules/.complete: %/package.json
	@! command -v npm >/dev/null || { echo "Installing into $*/node_modules" && \
	    npm install --prefix $* --no-audit --no-fund --ignore-scripts --no-save --silent && touch $@; } || \
	    echo "npm could not install what $* needs; it goes on without."

# The recipes share .venv.
.NOTPARALLEL:
.PHONY: help run run-cluster redis-for-root chat test test-faults lint format protocol loadtest audit bench bench-parts deployment-parts profile lock wheel parts clean parts-for-root
