#!/usr/bin/env bash
# The one door for people. `./manage.sh help` tells what it can do. Works from any folder and from cron.
set -euo pipefail

here=${BASH_SOURCE[0]}
while [ -L "$here" ]; do # called by a link
    target=$(readlink "$here")
    case $target in /*) here=$target ;; *) here=$(dirname "$here")/$target ;; esac
done
cd "$(dirname "$here")"
export PYTHONUTF8=1 PYTHONUNBUFFERED=1
python=.venv/bin/python

say() { printf 'manage.sh: %s\n' "$*" >&2; }

# Sets $found to a Python of 3.11 or later: $PYTHON, the one in .venv, or one on PATH.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" "$python" python3 python3.14 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            found=$candidate
            return
        fi
    done
    say "no Python 3.11 or later was found on PATH; install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it: PYTHON=/path/to/python3 ./manage.sh …"
    exit 1
}

# Makes the virtual environment and installs the named sets (run, dev, peers) where they are missing or have changed.
ensure() {
    find_python
    "$found" scripts/ensure.py "$@"
}

help() {
    cat <<'TEXT'
Zhihui. Everything goes through this script; it sets up what is missing by itself.

  ./manage.sh demo [--once]     a server with two modules and a workflow that runs every five seconds, in its own folder
  ./manage.sh demo hr [--once]  people who come, move and go: a sync, a mass disable that is held, a dead letter, the proof of an end
  ./manage.sh start             start the server in the background
  ./manage.sh run               start it in the foreground
  ./manage.sh stop              let requests finish, then stop
  ./manage.sh restart           stop, then start
  ./manage.sh reload            new code and settings without a failed request
  ./manage.sh status            processes, memory, and the health of each engine
  ./manage.sh logs [N]          the last N lines of the log (50)
  ./manage.sh logs-follow       the log as it grows
  ./manage.sh deploy            install, migrate, then start or reload
  ./manage.sh migrate           bring the database up to date
  ./manage.sh test [ARGUMENTS]  all tests, or what the arguments of pytest select; --cov measures coverage
  ./manage.sh check             lint, formatting, types, import rules
  ./manage.sh eval [--pdf FILE] how well search finds what it should: the sets in the database, or made questions on a PDF
  ./manage.sh bench NAME        a benchmark: dispatch, rest, documents, tasks, hr, login, dashboard, notifications
  ./manage.sh COMMAND …         a management command: expire_modules, list_scheduled_jobs, sync_hr_persons, create_account_tasks,
                                process_account_creation_tasks, init_organization_notifications, create_admin, make_migration

Settings come from the environment and from .env (see .env.example). State lives in DATA_DIR (./data).
TEXT
}

pytest() {
    local argument
    local -a arguments=()
    # All of them: a process a core, each with peers of its own, the quick tests last so that both end together.
    [ $# -gt 0 ] || arguments=(-n auto --maxprocesses=4 --dist loadfile --no-loadscope-reorder)
    for argument in "$@"; do
        case $argument in
            --cov) arguments+=(--cov=server --cov=handlers --cov=jobs --cov=client/zhihui_module --cov-report=term) ;;
            *) arguments+=("$argument") ;;
        esac
    done
    exec "$python" -m pytest "${arguments[@]+"${arguments[@]}"}"
}

check() {
    local failed=()
    step() {
        local name=$1
        shift
        printf '\n== %s\n' "$name"
        "$@" || failed+=("$name")
    }
    step "ruff check" "$python" -m ruff check .
    step "ruff format" "$python" -m ruff format --check .
    step "mypy" "$python" -m mypy server handlers jobs client/zhihui_module scripts gunicorn.conf.py
    step "import rules" "$python" -m pytest -q tests/unit/test_imports.py
    if [ ${#failed[@]} -gt 0 ]; then
        printf '\nfailed: %s\n' "$(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
        exit 1
    fi
    printf '\nall checks passed\n'
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
    help | -h | --help) help ;;
    start | stop | restart | reload | status | logs | logs-follow) ensure run && exec "$python" -m scripts.control "$command" "$@" ;;
    run) ensure run && exec "$python" -m server "$@" ;;
    demo) ensure run && exec "$python" -m scripts.demo "$@" ;;
    migrate) ensure run && exec "$python" -m server.commands migrate "$@" ;;
    deploy) ensure run && "$python" -m server.commands migrate && exec "$python" -m scripts.control deploy ;;
    test) ensure dev && pytest "$@" ;;
    check) ensure dev && check ;;
    bench)
        [ $# -gt 0 ] || { say "which one? ./manage.sh bench dispatch, rest, documents, tasks, hr, login, dashboard or notifications" && exit 2; }
        name=$1
        shift
        [ -f "benchmarks/$name.py" ] || { say "there is no benchmark $name" && exit 2; }
        ensure run peers && exec "$python" -m "benchmarks.$name" "$@"
        ;;
    -*) say "unknown option $command; ./manage.sh help tells what there is" && exit 2 ;;
    *) ensure run && exec "$python" -m server.commands "$command" "$@" ;;
esac
