# Sourced by install.sh and .ci/run: the things that pip cannot bring on Debian and Ubuntu.
# Each is installed with apt where that needs no password, else a sentence says which command to run.

say() { echo "install: $*"; }

fail() {
    printf 'install: %s\n' "$@" >&2
    exit 1
}

# Debian and Ubuntu split venv's ensurepip off into a package of its own, one for each Python version.
ensure_venv_module() {
    has_venv_module "$1" && return
    local package
    package="python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    apt_install "$package" "Python's venv module is incomplete (no ensurepip)"
    has_venv_module "$1" || fail "'$package' is installed, but '$1' still has no ensurepip." \
        "Choose a Python that has it: make install PYTHON=/usr/bin/python3"
}

# LightGBM's wheel does not carry the OpenMP runtime, which slim images of Linux lack.
ensure_libgomp() {
    [ "$(uname -s)" = Linux ] || return 0
    has_libgomp "$1" && return
    apt_install libgomp1 "libgomp.so.1 is missing (LightGBM needs it)"
    has_libgomp "$1" || fail "'libgomp1' is installed, but libgomp.so.1 still cannot be loaded by '$1'." \
        "Check LD_LIBRARY_PATH, and that Python and the system have the same architecture."
}

# Spark runs on Java; without it the tests of habitus/spark/ skip, so tests make sure that it is there.
ensure_java() {
    has_java && return
    local package=openjdk-17-jre-headless
    apt-cache show "$package" >/dev/null 2>&1 || package=default-jre-headless
    apt_install "$package" "Java is missing (Spark needs 17 or later)"
    has_java || fail "'$package' is installed, but java still does not run." "Check JAVA_HOME and PATH."
}

has_java() { java -version >/dev/null 2>&1; }

has_venv_module() { "$1" -c 'import venv, ensurepip' >/dev/null 2>&1; }

has_libgomp() { "$1" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' >/dev/null 2>&1; }

# apt_install PACKAGE WHY
apt_install() {
    local package=$1 why=$2 as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    command -v apt-get >/dev/null || fail "$why." "Install your system's package for it (Debian: $package), then run make again."
    if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
        fail "$why." "Run: sudo apt-get install -y $package   and then make again."
    fi
    say "$why: installing $package with apt"
    "${as_root[@]}" apt-get update -qq >/dev/null || say "apt-get update failed; trying with the lists that are there"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null ||
        fail "apt could not install $package." "Run it by hand to see why: sudo apt-get install $package"
}
