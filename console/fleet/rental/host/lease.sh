#!/bin/sh
# fastconsole-lease SECONDS [USER]: powers this host off when its lease is over.
#
# The deadline is a whole number of seconds on the scale of /proc/uptime, which clock corrections do not affect. At
# first it is SECONDS after the first start of this script in this boot; restarting the script changes nothing. USER
# moves it, without root, by replacing /run/fastconsole/lease. Anything there that is not a whole number, or a missing
# file, leaves the last valid deadline in force.
set -u

run=${FASTCONSOLE_RUN:-/run}
look_s=${FASTCONSOLE_LOOK_S:-5}
insist_s=${FASTCONSOLE_INSIST_S:-60}
lease=$run/fastconsole/lease
state=$run/fastconsole-lease/deadline

# No deadline is further away than 13 h: a console leaves its hosts unattended for 12 h at most, plus an hour for
# delays. A deadline that was moved by mistake costs no more than that.
limit_s=46800

say() { printf 'fastconsole-lease: %s\n' "$*" >&2; }

whole() {
    # At most ten digits, since a shell's integers are limited; no leading zero, since 010 is octal.
    case $1 in
        '' | *[!0-9]* | 0?* | ???????????*) return 1 ;;
    esac
}

look_at_clock() {
    read -r now _ </proc/uptime
    now=${now%%.*}
}

keep() {
    # seen: the number in the file, so that a deadline that was capped is not capped again, ever later.
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
    # With a limit in bytes and in time: the folder is the user's, and the file may be anything.
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
    say "still up; powering off by force"
    poweroff -f
done
