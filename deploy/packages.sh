# Read by deploy/quickstart and tests/run: what they need of the machine, and how to get it there.
# Each `need_…` does nothing when the thing is there, installs it where apt-get can, and else says what is missing.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
give_up() { say "$@"; exit 69; } # EX_UNAVAILABLE

# Installs Debian packages; fails, with the reason said, where that is not possible.
install_packages() {
    command -v apt-get >/dev/null || { say "no apt-get on this machine"; return 1; }
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { say "not root, and there is no sudo"; return 1; }
        root=(sudo)
    fi
    say "installing $* (apt-get)"
    local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    # Lists that are stale or missing are the usual reason for a failure; fetching them each time would be slow.
    "${apt[@]}" install --no-install-recommends -y "$@" >/dev/null 2>&1 </dev/null ||
        { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends -y "$@"; } >/dev/null </dev/null
}

need_rust() {
    command -v cargo >/dev/null && return
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    command -v cargo >/dev/null || give_up "no Rust toolchain found; install one from https://rustup.rs, then run this again"
}

# Some crates have parts in C.
need_compiler() {
    command -v cc >/dev/null && return
    install_packages build-essential cmake && command -v cc >/dev/null ||
        give_up "no C compiler found; install gcc or clang, then run this again"
}

# The server programs that realmgate runs a PostgreSQL of its own with. It searches the same places.
have_postgres() {
    local programs
    command -v initdb >/dev/null && return
    for programs in /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb \
        /opt/homebrew/opt/postgresql@*/bin/initdb /usr/local/opt/postgresql@*/bin/initdb \
        /Applications/Postgres.app/Contents/Versions/*/bin/initdb; do
        [ -x "$programs" ] && return
    done
    return 1
}

need_postgres() {
    have_postgres && return
    # The package would start a server on port 5432, which nobody here asked for. The settings must be there first.
    if install_packages postgresql-common; then
        local settings=/etc/postgresql-common/createcluster.conf root=()
        [ "$(id -u)" -eq 0 ] || root=(sudo)
        "${root[@]}" sed -i -E 's/^#?[[:space:]]*create_main_cluster[[:space:]]*=.*/create_main_cluster = false/' "$settings"
        install_packages postgresql
    fi
    have_postgres || give_up "no PostgreSQL found (14 or newer); install its server package — macOS: brew install" \
        "postgresql@17; RHEL: dnf install postgresql-server — then run this again"
}
