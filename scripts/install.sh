#!/usr/bin/env bash
# Build .venv: a Python environment, torch first, then Habitus itself (editable) with what tests and the demo need.
# Run by `make install`. PYTHON names the interpreter, TORCH_BACKEND (auto, cpu, cu128, ...) the build of torch.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/system_packages.sh

venv=.venv
export PIP_DISABLE_PIP_VERSION_CHECK=1

# PYTHON where it is given; else python3, or the first later one that is there: Ubuntu 22.04's python3 is 3.10.
find_python() {
    local wanted=${PYTHON:-python3} candidates candidate
    candidates=("$wanted")
    [ "$wanted" = python3 ] && candidates+=(python3.11 python3.12 python3.13 python3.14)
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    fail "'$wanted' is missing, does not run, or is older than Python 3.11." \
        "Install Python 3.11 or later, or name the one to use: make install PYTHON=/path/to/python3.11"
}

make_venv() {
    local python=$1
    "$venv/bin/python" -c 'import pip' >/dev/null 2>&1 && return
    ensure_venv_module "$python"
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
}

# torch goes first and under constraints, so that nothing later pulls another build of it.
install_torch() {
    torch_is_right && return
    if [ -z "${TORCH_BACKEND:-}" ]; then
        say "installing torch (some minutes; from PyPI on Linux it brings CUDA, 3 GB: TORCH_BACKEND=auto avoids that)"
        "$venv/bin/python" -m pip install -qq -c constraints.txt torch
    else
        say "installing torch with uv, backend '$TORCH_BACKEND' (some minutes)"
        local uv
        uv=$(find_uv)
        "$uv" pip install -q --python "$venv/bin/python" --torch-backend="$TORCH_BACKEND" -c constraints.txt torch
    fi
}

torch_is_right() {
    "$venv/bin/python" -m pip freeze 2>/dev/null | sed 's/+.*//' | grep -xF "$(grep '^torch==' constraints.txt)" >/dev/null
}

find_uv() {
    if command -v uv; then return; fi
    "$venv/bin/python" -m pip install -qq uv >&2 ||
        fail "TORCH_BACKEND=$TORCH_BACKEND needs uv, which could not be installed." \
            "See https://docs.astral.sh/uv/, or leave TORCH_BACKEND out to let pip choose."
    echo "$venv/bin/uv"
}

install_habitus() {
    say "installing habitus and its tools"
    "$venv/bin/python" -m pip install -qq -c constraints.txt -e '.[dev]'
}

python=$(find_python)
make_venv "$python"
ensure_libgomp "$venv/bin/python"
install_torch
install_habitus
say "ready: $venv/bin/habitus --help"
