# For sh -s, as root. Makes this host present an SSH host key that it generated itself.
#
#   make         prints the public half of a new key, which is kept beside the one in use
#   swap PUBLIC  replaces all other keys by that key and has sshd load it
#
# Both can be repeated after they were interrupted at any point.
set -u
umask 077

folder=/etc/ssh
own=$folder/fastconsole_host_key
used=$folder/ssh_host_ed25519_key

refuse() {
    printf '%s\n' "$*" >&2
    exit 10
}

public() { ssh-keygen -y -f "$1" 2>/dev/null | cut -d ' ' -f 1,2; }

make() {
    if [ ! -s "$own" ]; then
        rm -f "$own.part" "$own.part.pub"
        ssh-keygen -q -t ed25519 -N '' -C '' -f "$own.part" </dev/null >&2 || refuse "ssh-keygen could not make a host key"
        rm -f "$own.part.pub"
        mv -f "$own.part" "$own" || refuse "$folder cannot be written"
        # The laptop is about to store the key: it has to survive a crash.
        sync
    fi
    public "$own"
}

swap() {
    if [ "$(public "$used")" != "$1" ]; then
        [ "$(public "$own")" = "$1" ] || refuse "the host key that this host made for the run is not there any more"
        cp "$own" "$used.part" || refuse "$folder cannot be written"
        mv -f "$used.part" "$used" || refuse "$folder cannot be written"
    fi
    # sshd does not need the public half; it is for people.
    printf '%s\n' "$1" >"$used.pub.part" && chmod 644 "$used.pub.part" && mv -f "$used.pub.part" "$used.pub"
    for other in "$folder"/ssh_host_*; do
        case $other in
            "$used" | "$used.pub") ;;
            *) rm -f "$other" ;;
        esac
    done
    sync
    # An sshd that a socket starts for each connection reads the key by itself; the next connection proves it either way.
    systemctl reload ssh 2>/dev/null || systemctl reload sshd 2>/dev/null || kill -HUP "$(cat /run/sshd.pid)"
    rm -f "$own"
}

main() {
    # A broken connection must not interrupt it.
    trap '' HUP PIPE
    command -v ssh-keygen >/dev/null || refuse "there is no ssh-keygen"
    # The script of a console that was killed may still be running.
    if command -v flock >/dev/null; then
        exec 9>/run/fastconsole-host-key.lock
        flock -w 30 9
    fi
    "$@"
}

# Last: the shell has read everything before it does anything.
main "$@"
