#!/bin/sh
# fastconsole-lease SECONDS [USER]: powers this host off when its lease is over.
#
# The deadline is a whole number of seconds on the scale of /proc/uptime, which no correction of the clock moves. At
# first it is SECONDS from the first start of this script in this boot; ending the script and starting it again changes
# nothing. USER moves it, without root's help, by replacing /run/fastconsole/lease. What is no whole number there, or
# nothing at all, leaves the last good deadline as it was.
set -u

run=${FASTCONSOLE_RUN:-/run}
look_s=${FASTCONSOLE_LOOK_S:-5}
insist_s=${FASTCONSOLE_INSIST_S:-60}
lease=$run/fastconsole/lease
state=$run/fastconsole-lease/deadline

# No deadline is further off than 13 h: a console leaves its hosts to themselves for 12 h at most, and an hour more is
# for whatever is slow. What moves the deadline by mistake costs no more than that.
limit_s=46800

say() { printf 'fastconsole-lease: %s\n' "$*" >&2; }

whole() {
    # Ten digits at most, since a shell's numbers end somewhere; none before them, since 010 is eight to it.
    case $1 in
        '' | *[!0-9]* | 0?* | ???????????*) return 1 ;;
    esac
}

look_at_clock() {
    read -r now _ </proc/uptime
    now=${now%%.*}
}

keep() {
    # seen: the number as it stood in the file, so that one which was cut is not cut anew, ever later.
    printf '%s %s\n' "$seen" "$deadline" >"$state.part" && mv -f "$state.part" "$state"
}

take() {
    seen=$1
    deadline=$1
    [ "$deadline" -le $((now + limit_s)) ] || deadline=$((now + limit_s))
    keep
    say "the deadline is $deadline s of uptime, $((deadline - now)) s from now"
}

whole "${1-}" || { say "usage: fastconsole-lease SECONDS [USER]"; exit 2; }
user=${2-}
mkdir -p "$run/fastconsole" "$run/fastconsole-lease"
look_at_clock
seen=- deadline=
if [ -r "$state" ]; then
    read -r seen deadline <"$state"
fi
whole "$deadline" || { take $((now + $1)); seen=-; keep; }

while :; do
    # The user may not be there yet: this starts before cloud-init makes users.
    if [ -n "$user" ] && chown "$user" "$run/fastconsole" 2>/dev/null; then
        user=
    fi
    # With a limit in bytes and in time: the folder is the user's, and what stands there may be anything.
    said=$(timeout 5 head -c 32 "$lease" 2>/dev/null | tr '\0' '?')
    look_at_clock
    if [ "$said" != "$seen" ] && whole "$said"; then
        take "$said"
    fi
    left=$((deadline - now))
    [ "$left" -gt 0 ] || break
    [ "$left" -le "$look_s" ] || left=$look_s
    sleep "$left"
done

say "the lease is over: uptime $now s, deadline $deadline s; powering off"
# `halt` would leave an EC2 instance running and billed.
poweroff
while sleep "$insist_s"; do
    say "still up; powering off without asking anybody"
    poweroff -f
done
